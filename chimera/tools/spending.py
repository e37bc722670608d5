"""The two tools with which agents spend. Calling one pays nothing: it says what came of a payment.

The payment itself is made on the way to the call, by the graph of payments (``graphs/agent.py``), with guards, CFO and
people of its own. Whoever reaches the tool by another way learns that nothing was paid.
"""

import json
from collections.abc import Mapping
from typing import Any, Protocol, cast

from chimera.core.contracts import BUY, PAY, Evidence
from chimera.core.errors import ToolUnknown
from chimera.tools.capability import Capability, ToolResult
from chimera.tools.mesh.servers import OURSELVES

PURPOSE_MAX = 1_000
EVIDENCE_CHARS = 4_000
RECORDS_MOST = 200
SELLERS_MOST = 10
_PURPOSE = {
    "type": "string",
    "minLength": 1,
    "maxLength": PURPOSE_MAX,
    "description": "What the money is for, in plain words; the task, if nothing is said",
}


def _tool(name: str, description: str, properties: dict[str, Any], required: list[str]) -> Capability:
    schema = {"type": "object", "properties": properties, "required": required, "additionalProperties": False}
    return Capability(
        name=name,
        server=OURSELVES,
        tool=name.partition("__")[2],
        description=description,
        input_schema=schema,
        read_only=False,
        idempotent=True,
        destructive=False,
    )


BUYER = _tool(
    BUY,
    "Buys what is behind a URL that asks for a payment (HTTP 402), such as a report or data, and gives it back. Only "
    "sellers on the operator's list are paid. The CFO decides, people where that is needed.",
    {"url": {"type": "string", "minLength": 1, "maxLength": 2_000, "description": "What to buy"}, "purpose": _PURPOSE},
    ["url"],
)
PAYER = _tool(
    PAY,
    "Pays somebody whom the operator has registered as a payee. The CFO decides, people where that is needed.",
    {
        "recipient": {"type": "string", "minLength": 1, "maxLength": 200, "description": "The registered name"},
        "amount": {"type": "string", "minLength": 1, "maxLength": 40, "description": "Digits, such as 0.25"},
        "asset": {"type": "string", "minLength": 1, "maxLength": 200, "description": "Such as USDC"},
        "purpose": _PURPOSE,
    },
    ["recipient", "amount", "asset"],
)


class Purse(Protocol):
    """What knows of the payments that agents' calls stand for."""

    @property
    def tools(self) -> frozenset[str]:
        """Which of the two calls can be made here."""
        ...

    @property
    def sellers(self) -> tuple[str, ...]:
        """The origins of the shops that can be bought at."""
        ...

    async def outcome(self, tenant: str, key: str) -> Mapping[str, Any]:
        """What came of the payment of a call: its state, why, and what was bought (``goods``, ``source``)."""
        ...


def spending_tools(purse: Purse | None) -> list[Capability]:
    """The tools with which agents can spend here; the one that buys says where."""
    if purse is None:
        return []
    sellers = f" Sellers: {', '.join(purse.sellers[:SELLERS_MOST])}." if purse.sellers else ""
    buyer = BUYER.model_copy(update={"description": BUYER.description + sellers})
    return [tool for tool in (buyer, PAYER) if tool.name in purse.tools]


async def what_came(purse: Purse | None, tenant: str, key: str) -> ToolResult:
    """The result of a call: the goods as evidence that can be cited, or why there are none.

    Raises:
        ToolUnknown: nothing can be paid here. PaymentRefused: there is no payment of this call.
    """
    if purse is None:
        raise ToolUnknown("payments are not configured", remedy="Set CHIMERA_PAYMENTS.")
    told = dict(await purse.outcome(tenant, key))
    goods, source = told.pop("goods", None), str(told.get("source", ""))
    records = _records(goods) if isinstance(goods, str) else []
    evidence: list[Evidence] = []
    for place, record in enumerate(records, 1):
        name = f"bought:{str(told['intent'])[:8]}:{place}"
        evidence.append(Evidence(id=name, text=json.dumps(record, ensure_ascii=False)[:EVIDENCE_CHARS], source=source))
        record["evidence"] = [name]
    data = {**told, "goods": records}
    return ToolResult(data=data, evidence=evidence, size=len(json.dumps(data)))


def _records(goods: str) -> list[dict[str, Any]]:
    """What was bought as records that can be cited one by one: those of a JSON document, or all of it as one text."""
    try:
        found: Any = json.loads(goods)
    except ValueError:
        return [{"text": goods[:EVIDENCE_CHARS]}] if goods.strip() else []
    if isinstance(found, dict):
        document = cast("dict[str, Any]", found)
        inner: list[Any] = [each for each in document.values() if isinstance(each, list)]
        found = inner[0] if len(inner) == 1 else [document]
    many: list[Any] = cast("list[Any]", found) if isinstance(found, list) else [found]
    return [_record(each) for each in many[:RECORDS_MOST]]


def _record(value: Any) -> dict[str, Any]:
    return dict(cast("dict[str, Any]", value)) if isinstance(value, dict) else {"value": value}
