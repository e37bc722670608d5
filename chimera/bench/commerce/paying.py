"""Payments end to end: many agents at once on budgets that cannot cover all, while everything fails that can.

Real are the ledger, the rules that decide and sign, the signer's process, the workers' processes, PostgreSQL, and the
EVM with its blocks, behind two endpoints. Killed are workers (at any moment, and at named steps) and the signer;
PostgreSQL is restarted; requests to the chain are refused, lost, late or answered wrong; blocks are replaced.
"""

import asyncio
import random
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, replace

from chimera.bench.commerce.naive import naive
from chimera.bench.commerce.one_by_one import CALLERS, OneByOne
from chimera.bench.commerce.plan import DEEPEST, DEPTH, Plan
from chimera.bench.commerce.processes import GONE, doom_list
from chimera.bench.commerce.scene import UNITS, Scene, open_scene
from chimera.bench.commerce.sums import ENDED, on_chain, summed
from chimera.bench.commerce.worker import STEPS, go_of
from chimera.bench.fleet.restarts import restart_postgres
from chimera.commerce.intents import SPENT
from chimera.core.errors import StoreError
from chimera.store.postgres import fetch

__all__ = [
    "CALLERS",
    "DEEPEST",
    "DEPTH",
    "FAULTS",
    "FULL",
    "QUICK",
    "SEED",
    "SPEED_AGENTS",
    "WORKERS",
    "Size",
    "paying",
    "sized",
]
SEED = 20_261_123
FAULTS = {"refuse": 200, "lose": 400, "hang": 2, "lie": 200}
"""Of each kind, of 10,000 requests to an endpoint."""
SPEED_AGENTS = 32
_LOOK_S, _STORM_S, _SPEED_S, _BACK_S = 0.25, 3_000.0, 300.0, 120.0
_PROGRESS = """
    SELECT count(*) FILTER (WHERE state = ANY (%s)) AS ended, count(*) FILTER (WHERE state = ANY (%s)) AS made
    FROM intents WHERE tenant LIKE 'tenant-%%'
"""
_MADE = "SELECT count(*) AS made FROM intents WHERE tenant = 'ours' AND state = 'captured'"


@dataclass(frozen=True)
class Size:
    """How much of everything. ``ours`` and ``usual``: payments whose rates are compared; ``block_s``: of a block."""

    agents: int
    payments: int
    tenants: int
    kills: int
    dooms: int
    signer_kills: int
    postgres: int
    reorgs: int
    ours: int
    usual: int
    naive_agents: int
    naive_each: int
    block_s: float = 1.0


FULL = Size(1_000, 10_000, 20, 12, 28, 5, 3, 12, 400, 30, 20, 10)
QUICK = Size(15, 60, 2, 1, 2, 1, 1, 1, 30, 4, 10, 8, block_s=0.4)
WORKERS = 2


def sized(payments: int, *, quick: bool) -> Size:
    """The size of a run; ``payments``: instead of its own, with an agent for each ten."""
    size = QUICK if quick else FULL
    if not payments:
        return size
    agents = max(size.tenants, payments // 10)
    return replace(size, agents=agents, payments=agents * 10)


def paying(size: Size) -> dict[str, float]:
    """The figures."""
    return asyncio.run(_paying(size))


async def _paying(size: Size) -> dict[str, float]:
    plan = Plan(SEED, size.tenants, size.agents, size.payments, WORKERS)
    async with open_scene(plan, size.block_s, size.naive_agents, SPEED_AGENTS) as scene:
        _say("wallets have their money")
        usual = await _usual_rate(scene, size.usual)
        _say(f"one at a time: {usual:.2f} payments/s")
        await asyncio.gather(*(worker.start() for worker in scene.workers))
        ours = await _our_rate(scene, size.ours)
        _say(f"ours: {ours:.2f} payments/s")
        began = time.monotonic()
        done = await _storm(scene, size)
        seconds = time.monotonic() - began
        _say(f"the storm took {seconds:.0f} s: {done}")
        for worker in scene.workers:
            await worker.end()
        await _answers(scene)
        await scene.node.order("bench_faults", FAULTS)
        control = await naive(scene.pool, scene.truth, scene.plan, scene.naive, size.naive_each)
        await scene.node.order("bench_faults", {})
        more = (size.usual + size.ours) * 1_000
        chain = await on_chain(scene.truth, scene.plan.token, scene.given, UNITS)
        found = await summed(scene.pool, scene.plan, chain, more)
        sums = [found[name] for name in ("captured_units", "chain_units", "wallet_units")]
        return {
            **found,
            "money_missing": max(abs(found["expected_units"] - each) for each in sums),
            "naive_overspend_units": control.overspend_units,
            "naive_double_payments": control.double_payments,
            "payment_speedup": round(ours / usual, 2),
            "payments_per_s": round(ours, 2),
            "payments_one_by_one_per_s": round(usual, 2),
            "storm_s": round(seconds, 1),
            **done,
        }


async def _answers(scene: Scene) -> None:
    """Wait until PostgreSQL answers again: its last restart may have been a moment ago."""
    async with asyncio.timeout(_BACK_S):
        while True:
            with suppress(*GONE):
                await fetch(scene.pool, "SELECT 1")
                return
            await asyncio.sleep(_LOOK_S)


async def _usual_rate(scene: Scene, count: int) -> float:
    intents = await scene.approved("usual", SPEED_AGENTS, count)
    wallets = await scene.wallets("usual", SPEED_AGENTS)
    deciding = scene.deciding
    way = OneByOne(scene.pool, deciding.ledger, scene.truth, scene.asking, deciding.approvals, wallets)
    return await way.rate(intents)


async def _our_rate(scene: Scene, count: int) -> float:
    """From approved to captured, by the workers, with as many blocks on top as ours waits for."""
    intents = await scene.approved("ours", SPEED_AGENTS, count)
    began = time.perf_counter()
    async with asyncio.timeout(_SPEED_S):
        await asyncio.gather(*(scene.deciding.ledger.reserve(intent) for intent in intents))
        while (await fetch(scene.pool, _MADE))[0]["made"] < count:  # noqa: ASYNC110 - others make them
            await asyncio.sleep(0.05)
    return count / (time.perf_counter() - began)


async def _storm(scene: Scene, size: Size) -> dict[str, float]:
    """Let all agents propose at once, and everything fail as far as they have come; what failed how often."""
    plan, pick = scene.plan, random.Random(scene.plan.seed)
    known = {"worker": sum(each.killed for each in scene.workers), "signer": scene.signer.killed}
    counts = {"postgres_restarts": 0, "reorgs": 0}
    coming = _faults(scene, size, pick, counts)
    scene.fates.extend(doom_list(STEPS, pick)[: size.dooms])
    total = sum(plan.made(tenant) for tenant in range(plan.tenants))
    await scene.node.order("bench_faults", FAULTS)
    await asyncio.to_thread(go_of(scene.place).touch)
    for worker in scene.workers:  # those that come after them die at named steps
        await worker.kill()
    said, until = -1, time.monotonic() + _STORM_S
    while time.monotonic() < until:
        await asyncio.sleep(_LOOK_S)
        with suppress(*GONE):
            (row,) = await fetch(scene.pool, _PROGRESS, (ENDED, [str(state) for state in SPENT]))
            share = row["made"] / total
            if int(share * 10) > said:
                said = int(share * 10)
                _say(f"{row['made']} of {total} made, {row['ended']} of {plan.payments} ended")
            while coming and coming[0][0] <= share:
                await coming.pop(0)[1]()
            if row["ended"] == plan.payments:
                break
    while coming:  # what is planned happens, also where all was made before
        await coming.pop(0)[1]()
    rpc: dict[str, int] = await scene.node.order("bench_faults", {})
    steps = sum(len(each.ended_by_itself) for each in scene.workers)
    return {
        "worker_kills": sum(each.killed for each in scene.workers) - known["worker"],
        "step_kills": steps,
        "signer_kills": scene.signer.killed - known["signer"],
        **counts,
        **{f"rpc_{kind}": count for kind, count in rpc.items()},
    }


Fault = tuple[float, Callable[[], Awaitable[object]]]


def _faults(scene: Scene, size: Size, pick: random.Random, counts: dict[str, int]) -> list[Fault]:
    """What fails, each when a part of the payments is made."""

    async def kill() -> None:
        await pick.choice(scene.workers).kill()

    async def restart() -> None:
        with suppress(StoreError):
            await restart_postgres(scene.servers)
        counts["postgres_restarts"] += 1

    async def reorg() -> None:
        await scene.node.order("bench_reorg", pick.randint(1, DEEPEST))
        counts["reorgs"] += 1

    found: list[Fault] = []
    for times, act in (
        (size.kills, kill), (size.signer_kills, scene.signer.kill), (size.postgres, restart), (size.reorgs, reorg),
    ):  # fmt: skip
        found += [(pick.uniform(0.03, 0.9), act) for _ in range(times)]
    return sorted(found, key=lambda each: each[0])


def _say(text: str) -> None:
    sys.stderr.write(f"commerce: {text}\n")
    sys.stderr.flush()
