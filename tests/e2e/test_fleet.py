"""The main job on the fleet: a mission in one process, its agents on `chimera worker`, both by the command line.

Proves FR-348, FR-349 and FR-350 through the command line, with the offline model.
"""

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest

from chimera.store.embedded import Endpoints

if TYPE_CHECKING:
    from tests.conftest import Nursery  # noqa: TID251 - its type alone

PATIENCE_S = 90.0


@pytest.mark.timeout(240)
def test_a_mission_whose_agents_run_on_a_worker(
    nursery: "Nursery",
    database_url: str,
    endpoints: Endpoints,
    child_environment: Callable[..., dict[str, str]],
    feed: Path,
    tmp_path: Path,
) -> None:
    urls = {"CHIMERA_DATABASE_URL": database_url, "CHIMERA_REDIS_URL": endpoints.redis_url}
    environment = child_environment(**urls, CHIMERA_DISPATCH="fleet")

    def begin(name: str, *arguments: str) -> int:
        with (
            Path(os.devnull).open("rb") as nothing,
            (tmp_path / f"{name}.out").open("wb") as out,
            (tmp_path / f"{name}.err").open("wb") as err,
        ):
            three = (nothing.fileno(), out.fileno(), err.fileno())
            return nursery.chimera(*arguments, environment=environment, folder=tmp_path, descriptors=three)

    worker = begin("worker", "worker", "--id", "w", "--lease", "5", "--concurrency", "8", "--json")
    try:
        assert "up to 8 agents, engine postgres" in heard(tmp_path / "worker.err")
        goal = "Find what is rising and write a briefing with sources"
        mission = begin("run", "run", goal, "--feed", str(feed), "--json")
        code = nursery.ends(mission, PATIENCE_S)
        assert code == 0, (tmp_path / "run.err").read_text("utf-8")[-800:]
        assert json.loads((tmp_path / "run.out").read_bytes())["status"] == "done"
        with psycopg.connect(database_url) as connection:
            rows = connection.execute("SELECT state, attempts, failures FROM runs").fetchall()
        assert rows
        assert set(rows) == {("done", 1, 0)}
        os.kill(worker, signal.SIGTERM)
        assert nursery.ends(worker, PATIENCE_S) == 0
    finally:
        nursery.kill(worker)
    assert json.loads((tmp_path / "worker.out").read_bytes()) == {"worker": "w", "turns": 1, "state": "stopped"}


def heard(file: Path) -> str:
    """What a process has said, when its first line is whole."""
    until = time.monotonic() + PATIENCE_S
    while "\n" not in (said := file.read_text("utf-8")):
        assert time.monotonic() < until, said
        time.sleep(0.02)
    return said
