"""``chimera bench fleet`` runs real agents on two worker processes, and loses and repeats none.

Proves FR-368 and FR-382.
"""

import asyncio
import json

import psycopg
import pytest
from nats import connect as connect_nats

from chimera.bench.fleet import run
from chimera.bench.fleet.costs import Cost
from chimera.bench.fleet.model import Latencies
from chimera.bench.fleet.provider import reply_after
from chimera.bench.fleet.restarts import nats_for, restart_postgres, restarts
from chimera.bench.fleet.servers import open_servers
from chimera.core.errors import InputError
from chimera.store.postgres import connect

KEYS = {
    "in_flight",
    "added_p50_ms",
    "added_p99_ms",
    "lost",
    "duplicated",
    "kb_per_agent",
    "cpu_ms_per_run",
    "cpu_ratio_bare",
    "cpu_ratio_stock",
    "throughput_ratio_stock",
}
"""What every case says."""


@pytest.mark.long
@pytest.mark.timeout(300)
@pytest.mark.parametrize("runner", ["lean", "stock"])
def test_agents_of_two_workers_all_end_once(runner: str) -> None:
    found = asyncio.run(run.measure_fleet("burst", runner, in_flight=30, quick=True)).plain()
    figures = found["figures"]
    assert figures.keys() >= KEYS
    assert (figures["lost"], figures["duplicated"]) == (0, 0), found["conditions"]["failed"]
    assert figures["in_flight"] == 30
    assert figures["added_p99_ms"] >= figures["added_p50_ms"] > 0
    assert 0 < figures["last_began_s"] <= found["conditions"]["seconds"]
    assert 0 < figures["fairness"] <= 1
    assert figures["python_ms_per_run"] > 0
    assert figures["postgres_ms_per_run"] > 0
    assert figures["cpu_ratio_bare"] == pytest.approx(figures["chimera_cpu_ms"] / figures["bare_cpu_ms"], abs=0.02)
    assert figures["cpu_ratio_stock"] == pytest.approx(figures["stock_cpu_ms"] / figures["chimera_cpu_ms"], abs=0.02)


@pytest.mark.long
@pytest.mark.timeout(300)
def test_agents_whose_model_is_behind_http() -> None:
    found = asyncio.run(run.measure_fleet("http", "lean", in_flight=20, quick=True)).plain()
    figures = found["figures"]
    assert figures.keys() >= KEYS
    assert (figures["lost"], figures["duplicated"]) == (0, 0), found["conditions"]["failed"]
    assert figures["provider_ms_per_run"] > 0


@pytest.mark.long
@pytest.mark.timeout(300)
def test_agents_sleep_on_disk_and_wake_up() -> None:
    found = asyncio.run(run.measure_fleet("parked", "lean", in_flight=500, quick=True)).plain()
    figures = found["figures"]
    assert figures.keys() >= KEYS
    assert (figures["lost"], figures["in_flight"]) == (0, 500)
    assert figures["added_p99_ms"] >= figures["added_p50_ms"] > 0
    assert 0 < figures["disk_kb_per_agent"] < 100
    assert figures["cpu_ms_per_run"] > 0


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("restart", [[], ["postgres", "nats"]], ids=["workers alone", "and Postgres and NATS"])
def test_workers_are_killed_and_nothing_is_lost_or_done_twice(restart: list[str]) -> None:
    """Proves FR-382: also when Postgres and NATS are restarted in the middle."""
    found = asyncio.run(run.measure_fleet("storm", "lean", in_flight=10, restart=restart, quick=True)).plain()
    figures = found["figures"]
    assert figures.keys() >= KEYS
    assert figures["restarts"] == len(restart)
    assert found["conditions"].get("restarted", []) == restart
    assert (figures["lost"], figures["unfinished"], figures["duplicated"]) == (0, 0, 0)
    assert figures["kills"] >= 1
    assert figures["in_flight"] >= 10
    assert figures["cpu_ms_per_run"] > 0


async def test_the_highest_number_is_between_one_that_is_late_and_one_that_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[int] = []
    numbers: list[int] = []

    async def tried(servers: object, trial: run.Trial, provider: object) -> dict[str, float]:
        number = trial.runs // 2
        asked.append(number)
        numbers.append(trial.number)
        return {"added_p99_ms": 100.0 if number <= 700 else 9_000.0, "lost": 0}

    monkeypatch.setattr(run, "_tried", tried)
    trial, figures = await run._highest(None, run.CASES["2s"], "lean", 2.0, Cost(10.0, 2.0, 80.0), None)  # type: ignore[arg-type]  # pyright: ignore
    assert 700 / run.NEAR <= figures["highest_in_flight"] <= 700
    assert trial.runs // 2 == pytest.approx(figures["highest_in_flight"], abs=1)
    assert len(asked) == len(set(asked)) <= run.TRIALS
    assert numbers == list(range(len(asked)))  # or the agents of one trial would be those of another, and done already


def test_the_provider_and_whoever_measures_agree_on_how_long_a_call_takes() -> None:
    latencies = Latencies(2.0, 7)
    reply = reply_after(latencies)
    asked = [{"role": "system", "content": ""}, {"role": "user", "content": '{"task": "Search. run-12"}'}]
    tools = [{"function": {"name": "notes__search"}}]
    first, said = reply({"messages": asked, "tools": tools})
    assert said["tool_calls"][0]["function"]["name"] == "notes__search"
    second, said = reply({"messages": [*asked, {"role": "tool", "content": "found"}], "tools": tools})
    assert said["content"]
    third, said = reply({"messages": asked, "tools": [{"function": {"name": "Opinion"}}]})
    assert json.loads(said["tool_calls"][0]["function"]["arguments"])["confidence"] > 0.9
    assert first + second + third == latencies.total("run-12") > 0
    assert latencies.total("run-12") != latencies.total("run-13")


def test_an_unknown_case_is_refused() -> None:
    with pytest.raises(InputError, match="no case"):
        run.main_fleet("11s", "lean", in_flight=0, quick=True, as_json=True)


def test_what_cannot_be_restarted_is_refused() -> None:
    assert restarts(" postgres, nats") == ["postgres", "nats"]
    assert restarts("") == []
    with pytest.raises(InputError, match="'redis' is not restarted"):
        restarts("nats,redis")
    with pytest.raises(InputError, match="restarts nothing"):
        run.main_fleet("2s", "lean", restart=["postgres"], quick=True, as_json=True)


@pytest.mark.long
async def test_a_storm_restarts_postgres_and_nats_once_each() -> None:
    """Proves FR-382: both come back with what they had, and what Postgres used before is not forgotten."""
    async with open_servers() as servers, nats_for(["nats"], servers) as nats:
        assert nats is not None
        client = await connect_nats(nats.url, max_reconnect_attempts=-1, reconnect_time_wait=0.1)
        stream = client.jetstream(timeout=10)
        await stream.add_stream(name="KEPT", subjects=["kept"])
        await stream.publish("kept", b"word")
        await nats.restart()
        assert (await client.jetstream(timeout=10).get_last_msg("KEPT", "kept")).data == b"word"
        await client.close()
        connection = await connect(servers.database_url)
        await connection.execute(b"CREATE TABLE kept AS SELECT generate_series(1, 300000) AS n")
        used = servers.postgres_cpu_s()
        await restart_postgres(servers)
        with pytest.raises(psycopg.OperationalError):
            await connection.execute(b"SELECT 1")
        connection = await connect(servers.database_url)
        assert await (await connection.execute(b"SELECT count(*) AS n FROM kept")).fetchall() == [{"n": 300_000}]
        assert servers.postgres_cpu_s() >= used > 0
        await connection.close()
