"""Real ``chimera worker`` processes of a measurement, and the runs that they are given."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from chimera.app import open_app, open_engine
from chimera.bench.fleet.leaf import agent_run
from chimera.bench.fleet.model import SUBJECT
from chimera.bench.fleet.process import RUNS_PER_MISSION, Load
from chimera.bench.fleet.servers import Servers, processes, ticks
from chimera.core.contracts import Criterion, Mission, Task
from chimera.fleet.engine import Engine
from chimera.store.runs import NewRun

TOOL = "files__write_artifact"
LEASE_S = 5.0
_START_S, _AGAIN_S = 90.0, 0.5
_CONCURRENCY = 1_000


class Crew:
    """Workers that can be killed."""

    def __init__(self, load: Load) -> None:
        self._environment = {
            **os.environ,
            "CHIMERA_HOME": load.home,
            "CHIMERA_DATABASE_URL": load.database_url,
            "CHIMERA_REDIS_URL": load.redis_url,
            "CHIMERA_AGENT_RUNNER": load.runner,
            "CHIMERA_MODEL": "openai:simulated",
            "CHIMERA_MODEL_BASE_URL": load.provider,
            "CHIMERA_MODEL_API_KEY": "none",
            "CHIMERA_MAX_TOKENS": str(10**12),
            "CHIMERA_ENGINE": load.engine,
            **({"CHIMERA_NATS_URL": load.nats_url} if load.nats_url else {}),
        }
        self._alive: list[asyncio.subprocess.Process] = []
        self._started = 0
        self._spent_s = 0.0
        self._ready_kb: dict[int, int] = {}
        self.grown_kb = 0
        """The most that a worker that ended has grown since it was ready."""
        self.killed = 0
        """How many were killed before the end."""

    @property
    def pids(self) -> list[int]:
        """Of the workers that are alive."""
        return [worker.pid for worker in self._alive]

    def cpu_s(self) -> float:
        """CPU seconds of all workers and their tool servers, of those that were killed until then."""
        return self._spent_s + _cpu_s(self.pids)

    async def start(self) -> None:
        """Start a worker, and wait until it says that it works, or is killed.

        One that ends by itself, as it does when PostgreSQL or NATS is away at its start, is started again.

        Raises:
            TimeoutError: it says nothing.
        """
        while not await self._begins():  # noqa: ASYNC110 - it has ended, and what it waited for tells nobody
            await asyncio.sleep(_AGAIN_S)

    async def _begins(self) -> bool:
        """Start one; False when it ends by itself."""
        self._started += 1
        worker = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "chimera", "worker", "--id", f"bench-{self._started}",
            "--lease", str(LEASE_S), "--concurrency", str(_CONCURRENCY),
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
            env=self._environment, start_new_session=True,
        )  # fmt: skip
        self._alive.append(worker)
        async with asyncio.timeout(_START_S):
            while worker.stderr is not None and b"up to" not in await worker.stderr.readline():
                if worker.stderr.at_eof():
                    if worker not in self._alive:
                        return True
                    self._alive.remove(worker)
                    await worker.wait()
                    return False
        self._ready_kb[worker.pid] = _peak_kb(worker.pid)
        return True

    async def kill(self, number: int) -> None:
        """Kill one, as a machine that fails does; nobody where nobody is left."""
        if not self._alive:
            return
        worker = self._alive.pop(number % len(self._alive))
        self.killed += 1
        self._spent_s += _cpu_s([worker.pid])
        if ready_kb := self._ready_kb.pop(worker.pid, 0):
            self.grown_kb = max(self.grown_kb, _peak_kb(worker.pid) - ready_kb)
        os.killpg(worker.pid, signal.SIGKILL)
        await worker.wait()

    async def end(self) -> None:
        """Kill all."""
        while self._alive:
            await self.kill(0)


@asynccontextmanager
async def open_crew(load: Load, workers: int) -> AsyncGenerator[tuple[Crew, Engine]]:
    """Workers, and the engine that hands them runs; the missions of the load are there."""
    crew = Crew(load)
    async with open_app(load.settings) as app, open_engine(app.settings, app.pool, app.database_url) as engine:
        for number in range(-(-load.runs // RUNS_PER_MISSION)):
            await app.context.missions.create(load.mission_of(number), _mission())
        try:
            await asyncio.gather(*(crew.start() for _ in range(workers)))
            yield crew, engine
        finally:
            await crew.end()


def new_runs(load: Load, numbers: Sequence[int]) -> list[NewRun]:
    """Runs with an effect: each writes a file of its own."""
    return [_new_run(load, number) for number in numbers]


def _new_run(load: Load, number: int) -> NewRun:
    name, mission_id = load.run_named(number), load.mission_of(number // RUNS_PER_MISSION)
    task = Task(
        id="t1",
        title="write",
        instruction=f"Write the artifact {name}.md with the text: {SUBJECT}",
        tools=[TOOL],
        limits={TOOL: 1},
        criteria=[Criterion(kind="nonempty")],
    )
    run = agent_run(mission_id, _mission(), name, task)
    payload = {"state": run.state, "recursion_limit": run.recursion_limit, "answers": None}
    return NewRun(id=name, thread_id=run.thread_id, payload=payload)


def _mission() -> Mission:
    return Mission(goal=f"Write down what is known of {SUBJECT}.", deadline_s=86_400)


def written(servers: Servers) -> int:
    """Files that the runs have written."""
    return len(list(Path(servers.home, "artifacts").rglob("run-*.md")))


def _cpu_s(groups: Sequence[int]) -> float:
    """CPU seconds of the processes in some groups, with those that they have waited for."""
    wanted = set(map(str, groups))
    used = sum(ticks(fields, waited=True) for _, fields in processes() if fields[3] in wanted)
    return used / os.sysconf("SC_CLK_TCK")


def _peak_kb(pid: int) -> int:
    """The most memory that a process has had; 0 of one that is gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text("utf-8").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("VmHWM:")), 0)
