"""The built wheel in somebody else's project. Proves FR-59, FR-60, FR-61 and META-6.

The wheel is built and installed without a network into an environment of its own, beside a project that has folders
called `tools` and `graphs`. From there missions run asynchronously and synchronously, on the offline model and real
tool servers, with the project's own planner, worker and judge.
"""

import json
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.timeout(180)  # a build, an environment and three swarms

ROOT = Path(__file__).parents[2]
GOAL = "Find what is rising and write a short briefing with sources"
PROGRAM = '''
import asyncio
import json
import sys

from graphs.mine import SHAPE
from tools.mine import answer

import chimera
from chimera import ChimeraSwarm, Judge, Mission, Planner, Worker
from chimera.core import specs
from chimera.core.contracts import Plan, Task

GOAL, FEED = sys.argv[1:]
MISSION = Mission(goal=GOAL, inputs={"feed": FEED})
used = []


class OneTask(Planner):
    """Plans one task, whatever is asked."""

    async def plan(self, request, context):
        used.append("planner")
        tool = next(tool.name for tool in request.tools if tool.name == "trends__analyze_trends")
        task = Task(
            id="t1",
            title="The project's own task",
            instruction=request.team_goal,
            tools=[tool],
            arguments={tool: {"source": request.mission.inputs["feed"]}},
        )
        return Plan(tasks=[task], rationale="planned by the project", confidence=0.95)


class Counting(Worker):
    """Works as the built-in one does."""

    async def turn(self, state, tools, context):
        used.append("worker")
        return await super().turn(state, tools, context)


class Sure(Judge):
    """Judges as the built-in one does, and is surer."""

    async def judge(self, request, context):
        used.append("judge")
        verdict = await super().judge(request, context)
        return verdict.model_copy(update={"confidence": 0.97})


async def main():
    async with ChimeraSwarm(planner=OneTask(), worker=Counting(), judge=Sure()) as swarm:
        own = await swarm.run(MISSION)
        events = [event async for event in swarm.stream(MISSION, dry_run=True)]
    return own, events


own, events = asyncio.run(main())
plain = chimera.run(MISSION)
plain_events = list(chimera.stream(GOAL, dry_run=True))
print(json.dumps({
    "chimera": chimera.__file__,
    "clauses": sorted({str(clause.file) for clause in specs.clauses()}),
    "mine": [answer(), SHAPE, sys.modules["tools"].__path__[0], sys.modules["graphs"].__path__[0]],
    "own": own.plain(),
    "used": used,
    "events": [event.plain() for event in events],
    "plain": plain.plain(),
    "plain_events": [event.plain() for event in plain_events],
}))
'''


@dataclass(frozen=True)
class Installed:
    """An environment with the wheel, and the folder that it is installed in."""

    python: Path
    site: Path


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """An environment with the built wheel, that finds everything else where these tests find it."""
    folder = tmp_path_factory.mktemp("scratch")
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder, cwd=ROOT)
    (wheel,) = folder.glob("*.whl")
    environment = folder / "environment"
    uv = [sys.executable, "-m", "uv", "--offline", "--no-config", "--cache-dir", folder / "cache"]
    run(*uv, "venv", "--python", sys.executable, environment, cwd=folder)
    python = environment / "bin" / "python"
    run(*uv, "pip", "install", "--python", python, "--no-deps", wheel, cwd=folder)
    (site,) = environment.glob("lib/python*/site-packages")
    # A folder named in a .pth file is searched; its own .pth files, such as that of an editable install, are not read.
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    return Installed(python, site)


def run(*command: object, cwd: Path, env: dict[str, str] | None = None, seconds: float = 120) -> str:
    """What a command prints; a failure shows its errors."""
    arguments = [str(part) for part in command]
    done = subprocess.run(
        arguments,
        cwd=cwd,
        env=env,
        timeout=seconds,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4_000:]
    return done.stdout


def test_a_project_with_folders_of_the_same_names_runs_missions(
    installed: Installed, tmp_path: Path, feed: Path, child_environment: Callable[..., dict[str, str]]
) -> None:
    """run, stream, the forms without async, subclasses; the wheel's own code and specs, the project's own folders."""
    project = tmp_path / "project"
    for package, code in {"tools": "def answer():\n    return 42\n", "graphs": "SHAPE = 'mine'\n"}.items():
        (project / package).mkdir(parents=True)
        (project / package / "__init__.py").touch()
        (project / package / "mine.py").write_text(code)
    (project / "program.py").write_text(PROGRAM)
    environment = {key: value for key, value in child_environment().items() if key not in ("PYTHONPATH", "VIRTUAL_ENV")}
    printed = run(installed.python, "program.py", GOAL, feed, cwd=project, env=environment)
    found: dict[str, Any] = json.loads(printed)

    assert Path(found["chimera"]).is_relative_to(installed.site), "the checkout was used, not the wheel"
    assert len(found["clauses"]) == 4
    assert all(Path(file).is_relative_to(installed.site) for file in found["clauses"])
    assert found["mine"] == [42, "mine", str(project / "tools"), str(project / "graphs")]

    own, events = found["own"], found["events"]
    assert (own["status"], own["confidence"]) == ("done", 0.97)
    assert "comet" in own["answer"]
    assert own["artifacts"] == [], "the project's plan writes none"
    assert found["used"][:3] == ["planner", "worker", "worker"]
    assert found["used"].count("judge") == 1
    plan = next(event["data"] for event in events if event["kind"] == "plan")
    assert [task["title"] for task in plan["tasks"]] == ["The project's own task"]
    assert (events[-1]["kind"], events[-1]["data"]["status"]) == ("result", "done")

    plain, plain_events = found["plain"], found["plain_events"]
    assert plain["status"] == "done"
    assert "comet" in plain["answer"]
    assert len(plain["artifacts"]) == 1
    assert plain["mission_id"] != own["mission_id"]
    assert [event["kind"] for event in plain_events].count("result") == 1
    assert plain_events[-1]["kind"] == "result"
    assert len({event["mission_id"] for event in plain_events}) == 1
