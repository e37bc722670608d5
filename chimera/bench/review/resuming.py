"""From a person's answer to the first step of the agent that waited for it, through a running ``chimera serve``.

Missions that wait for their plan are put on record before the server starts, as callers' missions that it takes up.
Each plan is then approved from another process, one after the other. The time runs from the call of the answer to the
first step that an agent of that mission has made and written to its thread: its first turn, which comes after the
checkpoint with which the thread begins. Both times are of this machine's clock.
"""

import asyncio
import shutil
import statistics
import tempfile
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from chimera.bench.review.installation import START_S, environment_of, served
from chimera.core.clock import SystemClock
from chimera.core.contracts import Mission, ReviewDecision
from chimera.core.errors import StoreError
from chimera.core.figures import Goal
from chimera.core.ids import random_ids
from chimera.core.settings import Settings
from chimera.guards.oversight import oversee
from chimera.guards.permissions.first import local_user
from chimera.review.queue import ReviewQueue
from chimera.store.audit import AuditLog
from chimera.store.embedded import EmbeddedServers, Endpoints
from chimera.store.migrate import migrate
from chimera.store.missions import MissionStore
from chimera.store.postgres import Pool, fetch, open_pool
from chimera.store.principals import Principal, PrincipalStore

GOALS: dict[str, Goal] = {"resume_p95_ms": ("<=", 1_000.0), "resume_missing": ("==", 0)}
_GOAL = "Find what is rising and write a short briefing with sources"
_STEP_S, _LOOK_S, _PAUSE_S = 60.0, 0.02, 0.3
_FIRST_STEP = """
    SELECT min(checkpoint ->> 'ts') AS at FROM checkpoints
    WHERE thread_id LIKE %s AND (metadata ->> 'step')::int >= 1
"""


async def resuming(quick: bool) -> tuple[dict[str, float], dict[str, Goal], dict[str, Any]]:
    """Measure: figures, goals and conditions.

    Raises:
        StoreError: the embedded servers, or the server, cannot be started.
    """
    count = 8 if quick else 60
    async with _installation(count) as (pool, environment, home), served(environment, home):
        items = await _waiting(pool, count)
        took = [await _one(pool, mission, item) for mission, item in items]
    found = sorted(one for one in took if one is not None)
    figures: dict[str, float] = {"resume_missing": len(took) - len(found), "resumed": len(found)}
    if found:
        figures |= {
            "resume_p50_ms": round(1_000 * statistics.median(found), 1),
            "resume_p95_ms": round(1_000 * found[min(len(found) - 1, int(0.95 * len(found)))], 1),
            "resume_max_ms": round(1_000 * found[-1], 1),
        }
    conditions = {
        "resume": f"{count} missions of `chimera serve` that wait for their plan; each approved from another process, "
        f"with {_PAUSE_S:g} s between the first step of one and the next answer; from the call of the answer to the "
        "checkpoint after the first turn of the mission's agent; offline rules, embedded servers",
    }
    return figures, GOALS, conditions


async def _one(pool: Pool, mission: str, item: str) -> float | None:
    """The seconds from an answer to the first step of the mission's agent; None when there is none in time."""
    decision = ReviewDecision(action="approve", reviewer=local_user(), reason="measured")
    decisions = oversee(
        Settings.model_validate({"database_url": "postgresql://named"}),
        pool, ReviewQueue(pool), AuditLog(pool, SystemClock()), SystemClock(), random_ids(),
    ).decisions  # fmt: skip
    begun = time.time()
    await decisions.answer(item, decision)
    until = time.monotonic() + _STEP_S
    while time.monotonic() < until:
        (row,) = await fetch(pool, _FIRST_STEP, (f"{mission}/%",))
        if row["at"] is not None:
            await asyncio.sleep(_PAUSE_S)
            return datetime.fromisoformat(row["at"]).timestamp() - begun
        await asyncio.sleep(_LOOK_S)
    return None


async def _waiting(pool: Pool, count: int) -> list[tuple[str, str]]:
    """The missions with the questions about their plans, once all of them are asked.

    Raises:
        StoreError: they are not asked in time.
    """
    until = time.monotonic() + START_S
    query = (
        "SELECT m.id::text AS mission, r.id::text AS item FROM missions AS m JOIN reviews AS r ON r.mission_id = m.id "
        "WHERE m.status = 'waiting' AND r.state = 'open' ORDER BY r.created_at"
    )
    while time.monotonic() < until:
        rows = await fetch(pool, query)
        if len(rows) == count:
            return [(row["mission"], row["item"]) for row in rows]
        await asyncio.sleep(_PAUSE_S)
    raise StoreError("the missions of the benchmark do not ask in time")


@asynccontextmanager
async def _installation(count: int) -> AsyncGenerator[tuple[Pool, dict[str, str], Path]]:
    """Embedded servers in a folder of their own, with missions on record that a server has to take up."""
    home = Path(await asyncio.to_thread(tempfile.mkdtemp, prefix="chimera-bench-"))
    servers = EmbeddedServers(home, idle_s=5.0)
    try:
        endpoints = await servers.acquire()
        async with open_pool(endpoints.database_url, 8) as pool:
            await migrate(pool)
            await _recorded(pool, endpoints, await asyncio.to_thread(_feed, home), count)
            yield pool, environment_of(home, endpoints), home
    finally:
        try:
            await servers.purge(force=True)
        finally:
            await asyncio.to_thread(shutil.rmtree, home, ignore_errors=True)


async def _recorded(pool: Pool, endpoints: Endpoints, feed: Path, count: int) -> None:
    store, at, who = PrincipalStore(pool), SystemClock().now(), local_user()
    async with store.changing("default") as (connection, _):
        await store.write(connection, Principal("default", who, "human", ("operator",), at, "the benchmark"))
    missions, new_id = MissionStore(pool, endpoints.database_url), random_ids()
    asked = Mission(goal=_GOAL, inputs={"feed": str(feed)}, deadline_s=3_600)
    for _ in range(count):
        await missions.create(new_id(), asked, {"approve_plan": True, "dry_run": False}, asked_by=who, asked="bench")


def _feed(home: Path) -> Path:
    lines = ["at,text"]
    for day in range(1, 15):
        lines += [f"2026-03-{day:02d}T0{hour}:00:00Z,steady topic number {hour}" for hour in range(3)]
        if day > 12:
            lines += [f"2026-03-{day:02d}T1{hour}:00:00Z,comet sighting reported" for hour in range(8)]
    path = home / "posts.csv"
    path.write_text("\n".join(lines), "utf-8")
    return path
