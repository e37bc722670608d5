"""What a guarded tool hop costs: the shipped chains before and after a call, on fresh texts of a given size."""

import random
import time
from collections.abc import Sequence
from statistics import mean, quantiles

from chimera.core.contracts import Decision, Mission, Task
from chimera.core.settings import Settings
from chimera.guards.gateway import SecurityGateway
from chimera.guards.policy.registry import first_chains
from chimera.guards.request import Edge, GuardRequest
from chimera.store.audit import GENESIS, AuditEvent, AuditLog
from chimera.tools.capability import Capability, ToolResult

SEED = 20_261_123
SIZES = {"1kb": 1_024, "4kb": 4_096}
_WARM_UP = 20
_PROSE = """
The report of this week shows that more people asked for help with their first order than before, and most of them
found an answer on page two, where the team had put a short list of steps with one example for each case. Prices in
2026 rose by 3.4 percent while returns fell from 812 to 640, and the shop in Lyon opened again on Monday.
"""
_WORDS = _PROSE.split()
_TOOL = Capability(
    name="notes__search",
    server="notes",
    tool="search",
    description="Search the notes",
    input_schema={
        "type": "object",
        "properties": {"text": {"type": "string"}, "limit": {"type": "integer"}},
        "required": ["text"],
    },
    output_schema={
        "type": "object",
        "properties": {"found": {"type": "array", "items": {"type": "string"}}},
        "required": ["found"],
    },
    read_only=True,
    idempotent=True,
    destructive=False,
)


class _Unwritten(AuditLog):
    """A record that keeps nothing: what it costs to write is measured on its own."""

    def __init__(self) -> None:
        self.decisions = 0

    async def append(self, event: AuditEvent) -> str:
        """Count the event."""
        self.decisions += 1
        return GENESIS


async def chains(*, quick: bool) -> dict[str, float]:
    """CPU milliseconds of a hop, which is the chain before the call and the chain after it, by the size of each text.

    No text comes twice, so nothing is found in a cache. ``chain_rejected`` counts hops that a guard cut short: their
    time would say nothing, so there must be none.
    """
    gateway, pick = SecurityGateway(first_chains(Settings()), _Unwritten()), random.Random(SEED)
    figures: dict[str, float] = {}
    rejected = 0
    for name, size in SIZES.items():
        before: list[float] = []
        after: list[float] = []
        for number in range(_WARM_UP + (300 if quick else 3_000)):
            call, result = _requests(pick, size)
            spent = [await _timed(gateway, call), await _timed(gateway, result)]
            if number >= _WARM_UP:
                before.append(spent[0][0])
                after.append(spent[1][0])
                rejected += sum(decision.action == "reject" for _, decision in spent)
        hops = [one + other for one, other in zip(before, after, strict=True)]
        figures |= {
            f"chain_mean_ms_{name}": _ms(mean(hops)),
            f"chain_p99_ms_{name}": _ms(_p99(hops)),
            f"chain_call_mean_ms_{name}": _ms(mean(before)),
            f"chain_result_mean_ms_{name}": _ms(mean(after)),
        }
    return {**figures, "chain_p99_ms": figures["chain_p99_ms_4kb"], "chain_rejected": rejected}


async def _timed(gateway: SecurityGateway, request: GuardRequest) -> tuple[float, Decision]:
    """Seconds of CPU time of all threads, and the decision."""
    began = time.process_time()
    decision = await gateway.validate_request("agent:bench/0/t1/1", request)
    return time.process_time() - began, decision


def _requests(pick: random.Random, size: int) -> tuple[GuardRequest, GuardRequest]:
    """A call with a text of that size, which the user's goal holds, and a result with another one."""
    asked, said = _text(pick, size), _text(pick, size)
    mission = Mission(goal=f"Search the notes for: {asked}"[:8_000])
    task = Task(id="t1", title="search", instruction="Search the notes.", tools=[_TOOL.name])
    result = ToolResult(data={"found": [said]}, size=len(said))
    call = GuardRequest(
        edge=Edge.TOOL_CALL, payload={"text": asked, "limit": 5}, mission=mission, task=task, capability=_TOOL
    )
    return call, GuardRequest(
        edge=Edge.TOOL_RESULT, payload=result.plain(), mission=mission, task=task, capability=_TOOL
    )


def _text(pick: random.Random, size: int) -> str:
    words: list[str] = []
    length = 0
    while length < size:
        words.append(pick.choice(_WORDS) if pick.random() < 0.95 else str(pick.randrange(10_000)))
        length += len(words[-1]) + 1
    return " ".join(words)[:size].strip()


def _p99(values: Sequence[float]) -> float:
    return quantiles(values, n=100, method="inclusive")[98]


def _ms(seconds: float) -> float:
    return round(seconds * 1_000, 4)
