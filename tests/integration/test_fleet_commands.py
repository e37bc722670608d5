"""Pools, agents and runs from the command line, and a worker whose engine is away.

Proves FR-340 and FR-350 against a real Postgres, and what FR-346 says of limits that cannot be.
"""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from chimera.cli.main import app
from chimera.core.errors import ConflictError
from chimera.store.agents import CHANGES, AgentStore
from chimera.store.embedded import Endpoints
from chimera.store.postgres import Pool, fetch, open_pool
from chimera.store.runs import NewRun, RunStore
from chimera.store.workers import WorkerStore

Command = Callable[..., Any]


@pytest.fixture
def chimera(database_url: str, endpoints: Endpoints, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Runs a command, and gives the JSON that it printed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CHIMERA_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("CHIMERA_DATABASE_URL", database_url)
    monkeypatch.setenv("CHIMERA_REDIS_URL", endpoints.redis_url)

    def call(*arguments: str, fails: bool = False) -> Any:
        done = CliRunner().invoke(app, [*arguments, "--json"])
        said = json.loads(done.stdout)
        assert (done.exit_code != 0) == fails, said
        return said["error"] if fails else said

    return call


def on(database_url: str, work: Callable[[Pool], Any]) -> Any:
    async def do() -> Any:
        async with open_pool(database_url, 2) as pool:
            return await work(pool)

    return asyncio.run(do())


def test_pools_are_made_changed_and_shown(chimera: Command) -> None:
    given = ("--concurrency", "5", "--tools", "files__*, web__get", "--budget", "900", "--tenant-limit", "2")
    made = chimera("pools", "add", "research", *given, "--priority", "1", "--weight", "3", "--model", "offline")
    assert made["tools"] == ["files__*", "web__get"]
    changed = chimera("pools", "set", "research", "--budget", "none", "--concurrency", "0", "--tools", "none")
    kept = {"model": "offline", "tenant_limit": 2, "priority": 1, "weight": 3}
    assert changed == {**made, "budget_units": None, "concurrency": 0, "tools": None} | kept
    assert [pool["name"] for pool in chimera("pools", "ls")["pools"]] == ["default", "research"]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("pools", "add", "default"), "CH702", "there is a pool"),
        (("pools", "add", "no spaces"), "CH100", "letters"),
        (("pools", "add", "p", "--weight", "0"), "CH100", "weight"),
        (("pools", "add", "p", "--concurrency", "-1"), "CH100", "concurrency"),
        (("pools", "set", "p", "--weight", "1"), "CH100", "no pool 'p'"),
        (("pools", "set", "default"), "CH100", "nothing to change"),
        (("pools", "set", "default", "--budget", "much"), "CH100", "budget_units"),
        (("agents", "add", "a", "--pool", "p"), "CH100", "no pool 'p'"),
        (("agents", "set", "a", "waiting"), "CH100", "no agent 'a'"),
        (("agents", "rm", "a"), "CH100", "no agent 'a'"),
        (("runs", "replay", "r"), "CH100", "no run"),
        (("runs", "cancel", "r"), "CH100", "no run"),
        (("worker", "--engine", "pigeons"), "CH100", "pigeons"),
    ],
)
def test_what_cannot_be_is_refused(chimera: Command, arguments: tuple[str, ...], code: str, said: str) -> None:
    error = chimera(*arguments, fails=True)
    assert error["code"] == code
    assert said in error["message"]


def test_ten_thousand_agents_are_made_at_once(chimera: Command) -> None:
    assert chimera("agents", "add", "ant", "--count", "10000")["made"] == 10_000
    assert chimera("agents", "add", "ant", "--count", "10001")["made"] == 1
    assert chimera("pools", "ls")["pools"][0]["load"] == {"agents waiting": 10_001}
    assert chimera("agents", "set", "ant-000007", "sleeping")["state"] == "sleeping"
    assert [row["id"] for row in chimera("agents", "ls", "--state", "sleeping")["agents"]] == ["ant-000007"]
    assert chimera("agents", "rm", "ant-000007") == {"removed": "ant-000007"}


async def test_agents_change_only_as_they_may(pool: Pool) -> None:
    agents = AgentStore(pool)
    for before in CHANGES:
        for after in CHANGES:
            await agents.create([f"{before} {after}"])
            await set_state(pool, f"{before} {after}", before)
            if after in CHANGES[before] | {before}:
                await agents.change(f"{before} {after}", after)
            else:
                with pytest.raises(ConflictError, match="cannot follow"):
                    await agents.change(f"{before} {after}", after)
    with pytest.raises(ConflictError):
        await agents.change("quarantined working", "working")


async def set_state(pool: Pool, agent: str, state: str) -> None:
    async with pool.connection() as connection:
        await connection.execute("UPDATE agents SET state = %s WHERE id = %s", (state, agent))


async def test_only_an_agent_that_waits_is_given_a_run(pool: Pool) -> None:
    agents, runs = AgentStore(pool), RunStore(pool)
    for state in CHANGES:
        await agents.create([state])
        await set_state(pool, state, state)
    await agents.create(["foreign"], tenant="other")
    await runs.enqueue([NewRun(f"r{number}", "t", {}) for number in range(4)])
    lease = await WorkerStore(pool).register("w", engine="postgres", concurrency=9, pools=None, ttl_s=60)
    claims = await runs.claim(lease, 9)
    assert sorted(str(claim.agent) for claim in claims) == ["None", "None", "None", "waiting"]
    row = await agents.get("waiting")
    assert (row["state"], row["run_id"]) == ("working", next(claim.id for claim in claims if claim.agent))


def test_top_and_runs_show_what_there_is(chimera: Command, database_url: str) -> None:
    async def fill(pool: Pool) -> None:
        runs = RunStore(pool)
        await runs.enqueue([NewRun("waits", "t", {}), NewRun("later", "t", {}, delay_s=60)])
        await runs.enqueue([NewRun("urgent", "t", {}, priority=1)])
        lease = await WorkerStore(pool).register("w", engine="postgres", concurrency=1, pools=None, ttl_s=60)
        assert [claim.id for claim in await runs.claim(lease, 1)] == ["urgent"]

    on(database_url, fill)
    load = chimera("top")
    (pool,), (worker,) = load["pools"], load["workers"]
    assert {name: pool[name] for name in ("running", "queued", "delayed", "dead", "started")} == {
        "running": 1,
        "queued": 1,
        "delayed": 1,
        "dead": 0,
        "started": 1,
    }
    assert pool["oldest_wait_s"] >= pool["wait_p99_s"] >= pool["wait_p50_s"] >= 0
    assert (worker["id"], worker["state"], worker["running"]) == ("w", "running", 1)
    assert 0 < worker["lease_s"] <= 60
    table = CliRunner().invoke(app, ["top", "--once"])
    assert table.exit_code == 0
    assert "oldest wait" in table.stdout
    assert [row["id"] for row in chimera("runs", "ls", "--state", "queued")["runs"]] == ["waits"]
    assert chimera("runs", "cancel", "waits")["state"] == "cancelled"
    assert chimera("runs", "replay", "waits")["state"] == "queued"
    assert chimera("runs", "cancel", "urgent")["state"] == "running"


def test_a_dead_letter_is_seen_and_run_again(chimera: Command, database_url: str) -> None:
    """Proves FR-343: what took its workers down until its tries were used up."""

    async def die(pool: Pool) -> None:
        runs, workers = RunStore(pool), WorkerStore(pool)
        await runs.enqueue([NewRun("poison", "t", {}, max_failures=2)])
        for name in ("a", "b"):
            lease = await workers.register(name, engine="postgres", concurrency=1, pools=None, ttl_s=60)
            await fetch(pool, "UPDATE runs SET not_before = now()")
            (claim,) = await runs.claim(lease, 1)
            await runs.begin(claim)
            await fetch(pool, "UPDATE workers SET expires_at = now() - interval '1 second' WHERE id = %s", (name,))
            swept = await runs.sweep()
        assert swept == {"poison": "dead"}

    on(database_url, die)
    (dead,) = chimera("runs", "ls", "--state", "dead")["runs"]
    assert (dead["id"], dead["attempts"], dead["failures"], dead["losses"]) == ("poison", 2, 2, 2)
    assert dead["error"]["code"] == "CH706"
    assert "2 of 2 tries" in dead["error"]["message"]
    assert "chimera runs replay" in dead["error"]["remedy"]
    assert chimera("top")["pools"][0]["dead"] == 1
    assert chimera("runs", "replay", "poison")["state"] == "queued"
    assert chimera("top")["pools"][0]["dead"] == 0


def test_a_second_worker_of_one_id_is_refused(chimera: Command, database_url: str) -> None:
    """Proves FR-344: by the command too, with what to do about it."""

    async def take(pool: Pool) -> None:
        await WorkerStore(pool).register("one", engine="postgres", concurrency=1, pools=None, ttl_s=60)

    on(database_url, take)
    error = chimera("worker", "--id", "one", fails=True)
    assert (error["code"], "one is alive" in error["message"]) == ("CH702", True)
    assert "an id of its own" in error["remedy"]


def test_a_worker_whose_engine_is_away(
    chimera: Command, monkeypatch: pytest.MonkeyPatch, free_port: Callable[[], int]
) -> None:
    """Proves FR-350: one line, a code and a remedy, whichever part is away at the start."""
    monkeypatch.setattr("chimera.fleet.nats_engine._CONNECT_S", 1.0)  # nobody is there, however long one tries
    error = chimera("worker", "--engine", "nats", fails=True)
    assert (error["code"], "nats_url" in error["message"]) == ("CH201", True)
    monkeypatch.setenv("CHIMERA_NATS_URL", f"nats://127.0.0.1:{free_port()}")
    error = chimera("worker", "--engine", "nats", fails=True)
    assert (error["code"], "NATS cannot be reached" in error["message"]) == ("CH301", True)
    assert "CHIMERA_NATS_URL" in error["remedy"]
    monkeypatch.setenv("CHIMERA_DISPATCH", "fleet")
    monkeypatch.setenv("CHIMERA_ENGINE", "nats")
    error = chimera("run", "goal", fails=True)  # whoever asks for agents is told the same, and leaves no mission
    assert (error["code"], "NATS cannot be reached" in error["message"]) == ("CH301", True)
    for name in ("DISPATCH", "ENGINE"):
        monkeypatch.delenv(f"CHIMERA_{name}")
    assert chimera("ls")["missions"] == []
    monkeypatch.setenv("CHIMERA_DATABASE_URL", f"postgresql://nobody:secret@127.0.0.1:{free_port()}/none")
    monkeypatch.setattr("chimera.store.postgres.CONNECT_TIMEOUT_S", 1)
    error = chimera("worker", fails=True)
    assert error["code"] == "CH301"
    assert "secret" not in json.dumps(error)
