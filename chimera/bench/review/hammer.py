"""Many reviewers hammer many questions while their processes are killed: is any lost, is any decided twice?

Lost is a question without exactly one final decision. Doubled is one with a decision that was acted upon and taken
back, or decided again, or handed over in two ways. Both are read from the table, the record and what was acted upon.
"""

import asyncio
import json
import random
import shutil
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chimera.bench.review.hammering import TENANT
from chimera.core.clock import SystemClock
from chimera.core.contracts import Mission
from chimera.core.errors import StoreError
from chimera.core.figures import Goal
from chimera.core.ids import random_ids
from chimera.store.audit import AuditLog
from chimera.store.embedded import EmbeddedServers
from chimera.store.migrate import migrate
from chimera.store.missions import MissionStore
from chimera.store.postgres import Pool, fetch, fetch_one, open_pool
from chimera.store.principals import Principal, PrincipalStore

SEED = 11
REVIEWERS, PROCESSES = 50, 4
GOALS: dict[str, Goal] = {"lost": ("==", 0), "doubled": ("==", 0), "unexpected": ("==", 0)}
_LOOK_S, _LIMIT_S = 0.1, 3_000.0
_MADE = """
    INSERT INTO reviews (id, mission_id, tenant, point, question, payload, confidence, reasons, weight, amount, needs)
    SELECT gen_random_uuid(), %(mission)s, %(tenant)s,
        CASE WHEN mod(n, 10) = 0 THEN 'finance' WHEN mod(n, 2) = 0 THEN 'content' ELSE 'quality' END,
        'Is result ' || n || ' good enough?',
        jsonb_build_object('kind', CASE WHEN mod(n, 3) = 0 THEN 'plan' ELSE 'result' END, 'answer', 'answer ' || n),
        mod(n, 100) / 100.0, '[]', mod(n * 7919, 50) / 10.0, mod(n, 7) * 1000000,
        CASE WHEN mod(n, 10) = 0 THEN 2 ELSE 1 END
    FROM generate_series(1, %(items)s) AS n
"""
_LEFT = "SELECT count(*) AS n FROM reviews WHERE state <> 'decided' OR taken_at IS NULL"


@dataclass(frozen=True)
class Size:
    """How many questions, and how often a process is killed."""

    items: int
    kills: int


class Process:
    """A process of reviewers, or the one that acts (index 0); it can be killed and started again."""

    def __init__(self, plan: Path, index: int, errors: Path) -> None:
        self._plan, self._index, self._errors = plan, index, errors
        self._process: asyncio.subprocess.Process | None = None
        self.starts = 0

    async def start(self) -> None:
        """Start it, and return when it is at work.

        Raises:
            StoreError: it does not begin.
        """
        self.starts += 1
        with self._errors.open("ab") as errors:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "chimera.bench.review.hammering",
                str(self._plan), str(self._index), f"{SEED} {self.starts}",
                stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=errors,
            )  # fmt: skip
        out = self._process.stdout
        async with asyncio.timeout(90.0):
            if out is None or not await out.readline():
                raise StoreError(f"process {self._index} of the reviewers does not begin")

    async def kill(self) -> None:
        """Kill it with signal 9."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()


async def hammer(quick: bool) -> tuple[dict[str, float], dict[str, Goal], dict[str, Any]]:
    """Measure: figures, goals and conditions.

    Raises:
        StoreError: the embedded PostgreSQL cannot be started. TimeoutError: the reviewers never end.
    """
    size = Size(400, 2) if quick else Size(5_000, 8)
    async with _database() as (home, url, pool):
        await _filled(pool, url, size.items)
        names = [f"reviewer {number}" for number in range(1, REVIEWERS + 1)]
        shares = [names[place::PROCESSES] for place in range(PROCESSES)]
        plan, log, errors = home / "plan.json", home / "acted.jsonl", home / "errors.txt"
        plan.write_text(json.dumps({"url": url, "log": str(log), "reviewers": shares}), "utf-8")
        processes = [Process(plan, index, errors) for index in range(PROCESSES + 1)]
        began = time.monotonic()
        try:
            await asyncio.gather(*(process.start() for process in processes))
            kills = await _until_done(pool, processes, size)
            took = time.monotonic() - began
        finally:
            for process in processes:
                await process.kill()
        figures = await counted(pool, log)
        said = (await asyncio.to_thread(errors.read_text, "utf-8", "replace")).splitlines()
        figures |= {"hammer_items": size.items, "hammer_s": round(took, 1), "unexpected": len(said)}
        figures |= {"decided_per_s": round(size.items / took, 1), "hammer_kills": kills}
    conditions = {
        "hammer": f"{REVIEWERS} reviewers in {PROCESSES} processes on {size.items:,} questions, a tenth of which need "
        "two people; claims, stale versions, decisions twice, bulk decisions, decisions taken back; one process acts "
        f"upon decisions; {size.kills} times one of them is killed (signal 9) and started again; embedded PostgreSQL",
        "seed_hammer": SEED,
        "unexpected": said[-5:],
        "simulated": ["the reviewers are programs, and whoever acts upon a decision writes it down"],
    }
    return figures, GOALS, conditions


async def _until_done(pool: Pool, processes: list[Process], size: Size) -> int:
    """Kill now and then, evenly over the work, until everything is decided and acted upon."""
    pick, kills = random.Random(SEED), 0
    async with asyncio.timeout(_LIMIT_S):
        while True:
            row = await fetch_one(pool, _LEFT)
            left = int(row["n"]) if row else 0
            if left == 0:
                return kills
            if kills < size.kills and left < size.items * (1 - (kills + 1) / (size.kills + 1)):
                process = processes[0] if kills == size.kills // 2 else pick.choice(processes)
                await process.kill()
                await process.start()
                kills += 1
            await asyncio.sleep(_LOOK_S)


async def counted(pool: Pool, log: Path) -> dict[str, float]:
    """What the table, the record and the log of who acted say: how many questions are lost, how many doubled.

    ``log``: a line ``[item, decision]`` for each time that a decision was handed over.

    Raises:
        AuditBroken: the record does not verify.
    """
    rows = await fetch(pool, "SELECT id::text, state, decision, taken_at FROM reviews")
    audit = AuditLog(pool, SystemClock())
    verified = await audit.verify(TENANT)
    events: dict[str, list[tuple[str, Any]]] = defaultdict(list)
    query = "SELECT kind, body::jsonb -> 'data' AS data FROM audit_events WHERE tenant = %s ORDER BY seq"
    for event in await fetch(pool, query, (TENANT,)):
        if event["kind"] in ("review.answered", "review.undone"):
            events[event["data"]["item"]].append((event["kind"], event["data"]))
    acted: dict[str, set[str]] = defaultdict(set)
    for line in (await asyncio.to_thread(log.read_text, "utf-8")).splitlines():
        item, decision = json.loads(line)
        acted[item].add(json.dumps(decision, sort_keys=True))
    lost = doubled = undone = 0
    for row in rows:
        kinds = [kind for kind, _ in events[row["id"]]]
        undone += kinds.count("review.undone")
        in_turn = all(kind == ("review.answered", "review.undone")[place % 2] for place, kind in enumerate(kinds))
        last = events[row["id"]][-1][1] if kinds else {}
        said = row["decision"] or {}
        same = (said.get("action"), said.get("reviewer")) == (last.get("action"), last.get("reviewer"))
        if row["state"] != "decided" or not kinds or kinds[-1] != "review.answered" or not same:
            lost += 1
        stated = {json.dumps(said, sort_keys=True)}
        if not in_turn or len(acted[row["id"]]) > 1 or (acted[row["id"]] and acted[row["id"]] != stated):
            doubled += 1
    return {"lost": lost, "doubled": doubled, "taken_back": undone, "record_events": verified}


async def _filled(pool: Pool, url: str, items: int) -> None:
    mission = random_ids()()
    await MissionStore(pool, url).create(mission, Mission(goal="hammered"))
    store, at = PrincipalStore(pool), SystemClock().now()
    async with store.changing(TENANT) as (connection, _):
        for number in range(1, REVIEWERS + 1):
            role = "operator" if number % 5 == 0 else "reviewer"
            person = Principal(TENANT, f"reviewer {number}", "human", (role,), at, "the benchmark")
            await store.write(connection, person)
    await fetch(pool, _MADE, {"mission": mission, "tenant": TENANT, "items": items})


@asynccontextmanager
async def _database() -> AsyncGenerator[tuple[Path, str, Pool]]:
    """An embedded PostgreSQL in a folder that is deleted afterwards."""
    home = Path(await asyncio.to_thread(tempfile.mkdtemp, prefix="chimera-bench-"))
    servers = EmbeddedServers(home, idle_s=5.0)
    try:
        url = (await servers.acquire()).database_url
        async with open_pool(url, 8) as pool:
            await migrate(pool)
            yield home, url, pool
    finally:
        try:
            await servers.purge(force=True)
        finally:
            await asyncio.to_thread(shutil.rmtree, home, ignore_errors=True)
