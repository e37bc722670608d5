"""What a guarded tool hop costs: the shipped chains before and after a call, on fresh texts of a given size."""

import asyncio
import json
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import mean, quantiles

from mcp import types

from chimera.core.contracts import Mission, Task
from chimera.core.settings import Settings
from chimera.guards.gateway import Chains, SecurityGateway
from chimera.guards.policy.registry import first_chains
from chimera.guards.request import Edge, GuardRequest
from chimera.store.audit import GENESIS, AuditEvent, AuditLog
from chimera.tools.capability import Capability
from chimera.tools.mesh.results import to_result

SEED = 20_261_123
SECRET = "sk-bench-4f1c9a7e2d60b835"  # noqa: S105 - made up; a guard looks for it in every argument
FLEET = 256
"""Hops at the same moment, of the thousands of agents that share a process."""
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

    ``chain_mean``: agents of a fleet, ``FLEET`` of them at a time; ``chain_wall_mean`` by the clock.
    ``chain_alone_mean`` and ``chain_p99``: one hop after the other. No text comes twice, so nothing is found in a
    cache. ``chain_rejected`` counts hops that a guard cut short: their time would say nothing, so there must be none.
    ``guard_..._ms_1kb`` is what each guard costs in a fleet, each on its own.
    """
    chosen = first_chains(Settings.model_validate({"model_api_key": SECRET}))
    gateway, pick = SecurityGateway(chosen, _Unwritten()), random.Random(SEED)
    figures: dict[str, float] = {}
    rejected = 0
    for name, size in SIZES.items():
        for _ in range(_WARM_UP):
            await _hop(gateway, pick, size)
        alone = [await _hop(gateway, pick, size) for _ in range(300 if quick else 3_000)]
        together = [await _fleet(gateway, pick, size) for _ in range(4 if quick else 20)]
        rejected += sum(hop.rejected for hop in (*alone, *together))
        hops = [hop.before + hop.after for hop in alone]
        figures |= {
            f"chain_mean_ms_{name}": _ms(mean(hop.before + hop.after for hop in together) / FLEET),
            f"chain_call_mean_ms_{name}": _ms(mean(hop.before for hop in together) / FLEET),
            f"chain_result_mean_ms_{name}": _ms(mean(hop.after for hop in together) / FLEET),
            f"chain_wall_mean_ms_{name}": _ms(mean(hop.wall for hop in together) / FLEET),
            f"chain_alone_mean_ms_{name}": _ms(mean(hops)),
            f"chain_alone_wall_mean_ms_{name}": _ms(mean(hop.wall for hop in alone)),
            f"chain_p99_ms_{name}": _ms(_p99(hops)),
        }
    figures |= {"chain_p99_ms": figures["chain_p99_ms_4kb"], "chain_rejected": rejected}
    return {**figures, **await _guards(chosen, pick, rounds=2 if quick else 10)}


async def _guards(chosen: Chains, pick: random.Random, *, rounds: int) -> dict[str, float]:
    """What each guard of the two edges costs a hop, and so what is left for the gateway itself."""
    spent: dict[str, float] = {}
    for _ in range(rounds):
        hops = [_requests(pick, SIZES["1kb"]) for _ in range(FLEET)]
        for number, edge in enumerate((Edge.TOOL_CALL, Edge.TOOL_RESULT)):
            for guard in chosen[edge].guards:
                requests = [
                    replace(hop[number]) for hop in hops
                ]  # what one guard has looked up is not there for another
                began = time.process_time()
                await asyncio.gather(*map(guard.check, requests))
                name = f"guard_{edge}_{guard.rule}_ms_1kb"
                spent[name] = spent.get(name, 0.0) + time.process_time() - began
    return {name: _ms(seconds / rounds / FLEET) for name, seconds in spent.items()}


@dataclass(frozen=True)
class _Spent:
    """CPU seconds of all threads before and after the calls of some hops, seconds of the clock, and the rejections."""

    before: float
    after: float
    wall: float
    rejected: int


async def _hop(gateway: SecurityGateway, pick: random.Random, size: int) -> _Spent:
    return await _timed(gateway, [_requests(pick, size)])


async def _fleet(gateway: SecurityGateway, pick: random.Random, size: int) -> _Spent:
    return await _timed(gateway, [_requests(pick, size) for _ in range(FLEET)])


async def _timed(gateway: SecurityGateway, hops: Sequence[tuple[GuardRequest, GuardRequest]]) -> _Spent:
    clock, began = time.perf_counter(), time.process_time()
    before = await asyncio.gather(*(gateway.validate_request("agent:bench/0/t1/1", call) for call, _ in hops))
    between = time.process_time()
    after = await asyncio.gather(*(gateway.validate_request("agent:bench/0/t1/1", result) for _, result in hops))
    ended, wall = time.process_time(), time.perf_counter() - clock
    rejected = sum(decision.action == "reject" for decision in (*before, *after))
    return _Spent(between - began, ended - between, wall, rejected)


def _requests(pick: random.Random, size: int) -> tuple[GuardRequest, GuardRequest]:
    """A call with a text of that size, which the user's goal holds, and a result with another, as servers give it."""
    asked, said = _text(pick, size), _text(pick, size)
    mission = Mission(goal=f"Search the notes for: {asked}"[:8_000])
    task = Task(id="t1", title="search", instruction="Search the notes.", tools=[_TOOL.name])
    data = {"found": [said]}
    content: list[types.ContentBlock] = [types.TextContent(type="text", text=json.dumps(data))]
    result = to_result(_TOOL, types.CallToolResult(content=content, structuredContent=data), 1_000_000)
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
