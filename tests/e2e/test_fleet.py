"""The main job on the fleet: a mission in one process, its agents on `chimera worker`, both as a user starts them.

Proves FR-348, FR-349 and FR-350 through the command line, with the offline model.
"""

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from chimera.store.embedded import Endpoints

PATIENCE_S = 90.0


@pytest.mark.timeout(240)
def test_a_mission_whose_agents_run_on_a_worker(
    database_url: str,
    endpoints: Endpoints,
    child_environment: Callable[..., dict[str, str]],
    feed: Path,
    tmp_path: Path,
) -> None:
    urls = {"CHIMERA_DATABASE_URL": database_url, "CHIMERA_REDIS_URL": endpoints.redis_url}
    environment = child_environment(**urls, CHIMERA_DISPATCH="fleet")
    chimera = [sys.executable, "-m", "chimera"]
    worker = subprocess.Popen(
        [*chimera, "worker", "--id", "w", "--lease", "5", "--concurrency", "8", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
        cwd=tmp_path,
    )
    try:
        assert worker.stderr is not None
        assert b"up to 8 agents, engine postgres" in hear(worker.stderr.fileno())
        done = subprocess.run(
            [*chimera, "run", "Find what is rising and write a briefing with sources", "--feed", str(feed), "--json"],
            check=False,
            capture_output=True,
            env=environment,
            cwd=tmp_path,
            timeout=PATIENCE_S,
        )
        assert done.returncode == 0, done.stderr[-800:]
        assert json.loads(done.stdout)["status"] == "done"
        with psycopg.connect(database_url) as connection:
            rows = connection.execute("SELECT state, attempts, failures FROM runs").fetchall()
        assert rows
        assert set(rows) == {("done", 1, 0)}
        worker.send_signal(signal.SIGTERM)
        said, _ = worker.communicate(timeout=PATIENCE_S)
    finally:
        worker.kill()
        worker.communicate()
    assert worker.returncode == 0
    assert json.loads(said) == {"worker": "w", "turns": 1, "state": "stopped"}


def hear(source: int) -> bytes:
    """What a process says until its first line is whole."""
    until, heard = time.monotonic() + PATIENCE_S, b""
    while b"\n" not in heard:
        ready, _, _ = select.select([source], [], [], max(0.0, until - time.monotonic()))
        assert ready, heard
        heard += os.read(source, 10_000)
    return heard
