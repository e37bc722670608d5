"""Reserving by many at once: by the ledger and by ``SELECT ... FOR UPDATE``, and the waits with 1 and 8 budgets."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from statistics import median, quantiles

from chimera.bench.commerce.stage import Stage, open_stage
from chimera.bench.commerce.usual import naive_overspend, reserve_for_update
from chimera.commerce.assets import USD
from chimera.commerce.intents import Intent
from chimera.commerce.verify import verify_ledger
from chimera.core.errors import OverBudget
from chimera.store.postgres import fetch

SEED = 20_261_124
CALLERS = 256
CONNECTIONS = 32
BUDGETS = 4
PLENTY = 10**12
AGENTS = 10_000
_DEADLINE_S = 900.0
_CROWD = """
    INSERT INTO budgets (tenant, scope, subject, asset, period, window_s, cap, since, latest, set_by, set_at)
    SELECT %s, 'agent', 'other ' || n, %s, 'total', 0, 1, '-infinity', now(), 'bench', now()
    FROM generate_series(1, %s) AS n
"""
Reserve = Callable[[Intent], Awaitable[bool]]


@dataclass(frozen=True)
class Rate:
    """Reservations a second, and the waits of those who asked, in seconds."""

    per_s: float
    waits: Sequence[float]

    @property
    def p99_ms(self) -> float:
        """What one of a hundred waited at least."""
        return round(quantiles(self.waits, n=100, method="inclusive")[98] * 1_000, 2)


async def reserving(*, quick: bool) -> dict[str, float]:
    """The figures. Both ways do the same work on the same budgets, in turns; a rate is the median of the rounds."""
    pick = random.Random(SEED)
    count, rounds = (400, 2) if quick else (3_000, 3)
    async with open_stage() as stage, asyncio.timeout(_DEADLINE_S):
        await _rate(stage, pick, "warm", BUDGETS, 200, usual=False)
        ours: list[Rate] = []
        theirs: list[Rate] = []
        for turn in range(rounds):
            ours.append(await _rate(stage, pick, f"ours-{turn}", BUDGETS, count, usual=False))
            theirs.append(await _rate(stage, pick, f"usual-{turn}", BUDGETS, max(100, count // 5), usual=True))
        one, eight = await _waits(stage, pick, count, rounds)
        crowd = await _crowded(stage, pick, count)
        faults, overspent = await _contended(stage, pick, 300 if quick else 1_000)
        naive = await naive_overspend(stage.url, [pick.randint(1, 199) for _ in range(1_000)], 50_000, CONNECTIONS)
    mine, usual = median(rate.per_s for rate in ours), median(rate.per_s for rate in theirs)
    return {
        "reserve_speedup": round(mine / usual, 2),
        "reserve_per_s": round(mine, 1),
        "reserve_for_update_per_s": round(usual, 1),
        "reserve_p99_ms_1": round(median(one), 2),
        "reserve_p99_ms_8": round(median(eight), 2),
        "reserve_p99_ratio": round(median(there / here for here, there in zip(one, eight, strict=True)), 2),
        "reserve_crowd_ratio": round(crowd / mine, 2),
        "reserve_wait_p99_ms": round(median(rate.p99_ms for rate in ours), 2),
        "overspent_budgets": overspent,
        "ledger_faults": faults,
        "naive_read_overspend_units": naive,
    }


async def _waits(stage: Stage, pick: random.Random, count: int, rounds: int) -> tuple[list[float], list[float]]:
    """The p99 of single payments with one budget and with eight, in turns, a few callers at a time."""
    found: dict[int, list[float]] = {1: [], 8: []}
    for turn in range(rounds):
        for budgets, waits in found.items():
            rate = await _rate(stage, pick, f"waits-{budgets}-{turn}", budgets, count, usual=False, callers=16)
            waits.append(rate.p99_ms)
    return found[1], found[8]


async def _crowded(stage: Stage, pick: random.Random, count: int) -> float:
    """Reservations a second in a tenant in which each of 10,000 other agents has a budget of its own."""
    await fetch(stage.owner, _CROWD, ("crowd", USD, AGENTS))
    return (await _rate(stage, pick, "crowd", BUDGETS, count, usual=False)).per_s


async def _contended(stage: Stage, pick: random.Random, count: int) -> tuple[int, int]:
    """Faults of the books, and budgets that are overspent, after more was asked for than there is."""
    amounts = [pick.randint(1, 199) for _ in range(count)]
    await stage.budgets("tight", BUDGETS, 50 * count)
    intents = await stage.approved("tight", amounts)
    ledgers = [stage.ledger() for _ in range(4)]
    asked = [ledgers[place % 4].reserve(intent) for place, intent in enumerate(intents)]
    for outcome in await asyncio.gather(*asked, return_exceptions=True):
        if not isinstance(outcome, bool | OverBudget):
            raise outcome
    faults = 0
    for row in await fetch(stage.pool, "SELECT DISTINCT tenant FROM budgets WHERE tenant !~ '^usual'"):
        faults += len((await verify_ledger(stage.pool, row["tenant"])).faults)
    spent = await fetch(
        stage.pool,
        "SELECT b.id FROM budgets AS b JOIN holds AS h ON b.id = ANY (h.budgets) AND h.state = 'held' "
        "GROUP BY b.id HAVING sum(h.amount) > b.cap",
    )
    return faults, len(spent)


async def _rate(
    stage: Stage, pick: random.Random, tenant: str, budgets: int, count: int, *, usual: bool, callers: int = CALLERS
) -> Rate:
    """Let so many callers reserve payments of a tenant of its own, one after the other each."""
    ids = await stage.budgets(tenant, budgets, PLENTY)
    intents = await stage.approved(tenant, [pick.randint(1, 199) for _ in range(count)])
    ledger = stage.ledger()

    async def by_row_locks(intent: Intent) -> bool:
        return await reserve_for_update(stage.owner, intent, ids)

    return await _measured(by_row_locks if usual else ledger.reserve, intents, CONNECTIONS if usual else callers)


async def _measured(reserve: Reserve, intents: Sequence[Intent], callers: int) -> Rate:
    waits: list[float] = []
    left = iter(intents)

    async def caller() -> None:
        for intent in left:
            began = time.perf_counter()
            if not await reserve(intent):
                raise AssertionError("a payment that fits was not reserved")
            waits.append(time.perf_counter() - began)

    began = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for _ in range(callers):
            group.create_task(caller())
    return Rate(len(intents) / (time.perf_counter() - began), waits)
