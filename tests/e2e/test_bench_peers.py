"""``chimera bench peers`` measures real frameworks, and says where and what. Proves FR-379."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Environment = Callable[..., dict[str, str]]


def bench(environment: Environment, work: Path, *options: str) -> tuple[dict[str, Any], int]:
    command = [sys.executable, "-m", "chimera", "bench", "peers", "--json", "--quick", "--work", str(work), *options]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=500, check=False)
    assert done.stdout, done.stderr
    return json.loads(done.stdout), done.returncode


@pytest.mark.long
def test_bare_langgraph_runs_in_the_environment_that_is_there(child_environment: Environment, tmp_path: Path) -> None:
    found, code = bench(child_environment, tmp_path / "work", "--only", "langgraph", "--sizes", "100")
    assert (found["name"], found["pass"], code) == ("peers", True, 0)
    assert found["conditions"]["peers"]["langgraph"]["environment"] == "this one"
    assert found["conditions"]["cpu"]
    assert found["conditions"]["rows"][0]["done"] == 300
    assert found["figures"]["langgraph_100_cpu_ms"] > 0
    assert found["figures"]["langgraph_100_cpu_ratio"] == 1.0
    assert found["figures"]["langgraph_100_calls"] == 3.0
    assert not (tmp_path / "work").exists()


@pytest.mark.long
@pytest.mark.timeout(600)
def test_a_peer_in_an_environment_of_its_own_and_chimera(child_environment: Environment, tmp_path: Path) -> None:
    options = ("--only", "langgraph,autogen,chimera", "--sizes", "20")
    found, code = bench(child_environment, tmp_path / "work", *options)
    assert (found["pass"], code) == (True, 0)
    assert [row["state"] for row in found["conditions"]["rows"]] == ["ok", "ok", "ok"]
    assert found["conditions"]["peers"]["autogen"]["environment"] == "its own"
    assert found["figures"]["autogen_20_cpu_ratio"] > 0
    assert found["figures"]["chimera_errors"] == 0
    assert [path.name.split("-")[0] for path in (tmp_path / "work").iterdir()] == ["autogen"]
