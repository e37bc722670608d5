"""Many reviewers hammer many questions while their processes and the server are killed: is any lost, or decided twice?

Most of them use the services from processes of their own, the others sit at the pages of a real ``chimera serve``.

Lost is a question without exactly one final decision. Doubled is one with a decision that was acted upon and taken
back, or decided again, or handed over in two ways. Both are read from the table, the record and what was acted upon.
"""

import asyncio
import json
import shutil
import socket
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chimera.bench.review.hammering import TENANT
from chimera.bench.review.installation import environment_of
from chimera.bench.review.visiting import AT_PAGE
from chimera.core.clock import SystemClock
from chimera.core.contracts import Mission
from chimera.core.errors import StoreError
from chimera.core.figures import Goal
from chimera.core.ids import random_ids
from chimera.core.settings import Settings
from chimera.guards.oversight import oversee
from chimera.review.queue import ReviewQueue
from chimera.store.audit import AuditLog
from chimera.store.embedded import EmbeddedServers, Endpoints
from chimera.store.migrate import migrate
from chimera.store.missions import MissionStore
from chimera.store.postgres import Pool, fetch, fetch_one, open_pool
from chimera.store.principals import Principal, PrincipalStore

SEED = 11
REVIEWERS, PROCESSES, VISITORS = 50, 2, 40
"""``VISITORS`` of the reviewers come over HTTP; the others share the processes, and are faster."""
GOALS: dict[str, Goal] = {"lost": ("==", 0), "doubled": ("==", 0), "unexpected": ("==", 0)}
_HERE = "chimera.bench.review"
_RULES = {"CHIMERA_REVIEW_QUORUM": '{"finance": 2}', "CHIMERA_REVIEW_CLAIM_S": "5", "CHIMERA_REVIEW_GRACE_S": "1"}
"""Those of the processes, as the server reads them."""
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
    """A part of the run that can be killed and started again. ``command``: of how often it was started before."""

    def __init__(
        self, name: str, command: Callable[[int], Sequence[str]], errors: Path, environment: dict[str, str]
    ) -> None:
        self._name, self._command, self._errors, self._environment = name, command, errors, environment
        self._process: asyncio.subprocess.Process | None = None
        self.starts = 0

    async def start(self) -> str:
        """Start it, and return the first line that it says, which it says when it is at work.

        Raises:
            StoreError: it does not begin.
        """
        self.starts += 1
        with self._errors.open("ab") as errors:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", *self._command(self.starts), env=self._environment,
                stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=errors,
            )  # fmt: skip
        out = self._process.stdout
        async with asyncio.timeout(90.0):
            said = await out.readline() if out is not None else b""
        if not said:
            raise StoreError(f"{self._name} does not begin")
        return said.decode()

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
    size = Size(800, 2) if quick else Size(5_000, 8)
    async with _database() as (home, endpoints, pool):
        sessions = await _filled(pool, endpoints.database_url, size.items)
        plan, log, errors, told = home / "plan.json", home / "acted.jsonl", home / "errors.txt", home / "server.txt"
        port, environment = _free_port(), {**environment_of(home, endpoints), **_RULES}
        names = [f"reviewer {number}" for number in range(1, REVIEWERS - VISITORS + 1)]
        shares = [names[place::PROCESSES] for place in range(PROCESSES)]
        planned = {"url": endpoints.database_url, "log": str(log), "reviewers": shares}
        planned |= {"address": f"http://127.0.0.1:{port}", "sessions": sessions}
        plan.write_text(json.dumps(planned), "utf-8")

        def working(index: int) -> Callable[[int], Sequence[str]]:
            return lambda starts: (f"{_HERE}.hammering", str(plan), str(index), f"{SEED} {starts}")

        server = Process("the server", lambda _: ("chimera", "serve", "--json", "--port", str(port)), told, environment)
        visiting = Process("visiting", lambda _: (f"{_HERE}.visiting", str(plan), str(SEED)), errors, environment)
        workers = [Process(f"process {n}", working(n), errors, environment) for n in range(PROCESSES + 1)]
        try:
            await server.start()
            await visiting.start()
            began = time.monotonic()
            await asyncio.gather(*(process.start() for process in workers))
            kills = await _until_done(pool, workers, server, size)
            took = time.monotonic() - began
        finally:
            for process in (visiting, *workers, server):
                await process.kill()
        figures = await counted(pool, log)
        said = (await asyncio.to_thread(errors.read_text, "utf-8", "replace")).splitlines()
        figures |= {"hammer_items": size.items, "hammer_s": round(took, 1), "unexpected": len(said)}
        figures |= {"decided_per_s": round(size.items / took, 1), "hammer_kills": kills}
        figures |= {"server_kills": server.starts - 1, "decided_at_pages": await _at_pages(pool)}
    conditions = {
        "hammer": f"{REVIEWERS} reviewers on {size.items:,} questions, a tenth of which need two people: {VISITORS} "
        f"at the pages of a `chimera serve`, the others in {PROCESSES} processes; claims, stale versions, decisions "
        "twice, bulk decisions, decisions taken back; one process acts upon decisions; server and processes in turn "
        f"are killed (signal 9) and started again, {size.kills} times in all; embedded PostgreSQL",
        "seed_hammer": SEED,
        "unexpected": said[-5:],
        "simulated": ["the reviewers are programs, and whoever acts upon a decision writes it down"],
    }
    return figures, GOALS, conditions


async def _until_done(pool: Pool, workers: list[Process], server: Process, size: Size) -> int:
    """Kill now and then, evenly over the work, until all is decided and acted upon; each second time the server."""
    kills = 0
    async with asyncio.timeout(_LIMIT_S):
        while True:
            row = await fetch_one(pool, _LEFT)
            left = int(row["n"]) if row else 0
            if left == 0:
                return kills
            if kills < size.kills and left < size.items * (1 - (kills + 1) / (size.kills + 1)):
                process = server if kills % 2 == 0 else workers[kills // 2 % len(workers)]
                await process.kill()
                await process.start()
                kills += 1
            await asyncio.sleep(_LOOK_S)


async def _at_pages(pool: Pool) -> int:
    row = await fetch_one(pool, "SELECT count(*) AS n FROM reviews WHERE decision ->> 'reason' = %s", (AT_PAGE,))
    return int(row["n"]) if row else 0


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


async def _filled(pool: Pool, url: str, items: int) -> list[tuple[str, str]]:
    """Questions and reviewers; returns the sessions, token and CSRF, of those who come over HTTP."""
    mission, clock = random_ids()(), SystemClock()
    await MissionStore(pool, url).create(mission, Mission(goal="hammered", deadline_s=86_400))
    store, people = PrincipalStore(pool), list[Principal]()
    async with store.changing(TENANT) as (connection, _):
        for number in range(1, REVIEWERS + 1):
            role = "operator" if number % 5 == 0 else "reviewer"
            person = Principal(TENANT, f"reviewer {number}", "human", (role,), clock.now(), "the benchmark")
            await store.write(connection, person)
            people.append(person)
    await fetch(pool, _MADE, {"mission": mission, "tenant": TENANT, "items": items})
    settings = Settings.model_validate({"database_url": url})
    accounts = oversee(settings, pool, ReviewQueue(pool), AuditLog(pool, clock), clock, random_ids()).accounts
    logins = [await accounts.vouched(person, by="the benchmark") for person in people[-VISITORS:]]
    return [(login.token, login.csrf) for login in logins]


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@asynccontextmanager
async def _database() -> AsyncGenerator[tuple[Path, Endpoints, Pool]]:
    """An embedded PostgreSQL in a folder that is deleted afterwards."""
    home = Path(await asyncio.to_thread(tempfile.mkdtemp, prefix="chimera-bench-"))
    servers = EmbeddedServers(home, idle_s=5.0)
    try:
        endpoints = await servers.acquire()
        async with open_pool(endpoints.database_url, 8) as pool:
            await migrate(pool)
            yield home, endpoints, pool
    finally:
        try:
            await servers.purge(force=True)
        finally:
            await asyncio.to_thread(shutil.rmtree, home, ignore_errors=True)
