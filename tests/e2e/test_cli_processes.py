"""The command line as users meet it, as processes: the demo in a pipe and on a terminal, signals, other processes.

Proves FR-26.
"""

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from typer.testing import CliRunner

from chimera.cli.main import app
from chimera.guards.permissions.first import local_user
from chimera.store.embedded import Endpoints

COMMAND = [sys.executable, "-m", "chimera"]
GOAL = "Find what is rising and write a short briefing with sources"
LIMIT_S = 50.0
_COLOURS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@pytest.fixture
def environment(
    child_environment: Callable[..., dict[str, str]], database_url: str, endpoints: Endpoints, tmp_path: Path
) -> dict[str, str]:
    """The shared servers with a database and a data folder of the test's own."""
    return child_environment(
        CHIMERA_HOME=tmp_path / "home",
        CHIMERA_DATABASE_URL=database_url,
        CHIMERA_REDIS_URL=endpoints.redis_url,
        COLUMNS=140,
    )


@pytest.fixture
def stalled_feed() -> Generator[str]:
    """The URL of a feed that accepts a connection and never answers."""
    import socket

    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}/feed.xml"


@dataclass
class Running:
    """A ``chimera run`` that is in the middle of a tool call."""

    process: "subprocess.Popen[str]"
    mission_id: str

    def end(self) -> tuple[int, str, str]:
        """Its exit code, stdout and the rest of its stderr."""
        out, err = self.process.communicate(timeout=LIMIT_S)
        return self.process.returncode, out, err


@pytest.fixture
def running(environment: dict[str, str], stalled_feed: str) -> Generator[Running]:
    """A mission whose first tool call hangs."""
    process = subprocess.Popen(
        [*COMMAND, "run", GOAL, "--feed", stalled_feed, "--events", "--json"],
        env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stderr is not None
    try:
        for text in process.stderr:
            event = json.loads(text)
            if event["kind"] == "tool":
                break
        else:
            pytest.fail(f"it ended too early: {process.communicate()}")
        yield Running(process, event["mission_id"])
    finally:
        process.kill()
        process.wait(LIMIT_S)


def beside(environment: dict[str, str], *arguments: str) -> tuple[int, str, str]:
    """Run another command meanwhile: in this process, which saves a start. Its exit code, stdout and stderr."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        result = CliRunner().invoke(app, list(arguments))
    return result.exit_code, result.stdout, result.stderr


def left_behind(home: str) -> list[str]:
    """The command lines of the processes that were started for this data folder and still run."""
    if sys.platform != "linux":
        pytest.skip("only Linux shows the environment of processes, by which those left behind are known")
    found: list[str] = []
    for entry in Path("/proc").iterdir():
        with suppress(OSError):
            if entry.name.isdigit() and home.encode() in (entry / "environ").read_bytes():
                found.append((entry / "cmdline").read_bytes().replace(b"\0", b" ").decode())
    return found


def test_the_demo_runs_unattended_and_says_who_answered(environment: dict[str, str]) -> None:
    done = subprocess.run(
        [*COMMAND, "demo"], env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=LIMIT_S,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    for part in (
        "Sample data",
        "scripted reviewer (not a human)",
        "Quillfern",
        "maintainers 6",
        "0.25 LUSD to sample shop: delivered",
        "the CFO asked for a human; agreed: scripted reviewer (not a human)",
        "on the local chain",
        "its money is worth nothing",
        "offline rules",
        "Trail: ",
        "Confidence: ",
    ):
        assert part in done.stdout
    artifact = re.search(r"Artifacts: .*  (/.*)$", done.stdout, re.MULTILINE)
    assert artifact is not None
    briefing = Path(artifact[1]).read_text("utf-8")
    assert "Quillfern stores history as a graph" in briefing
    assert "previous instructions" not in briefing.lower(), "the hostile row of the feed is withheld, and only that one"
    withheld = "records of trends__analyze_trends (threat high) withheld"
    payments = ("payment team-1/t2: 0.25 LUSD proposed", "payment team-1/t2: delivered")
    for part in (" started: ", "guard team-1/t1: allow", withheld, *payments, "chimera show ", "Sample data"):
        assert part in done.stderr
    assert "\x1b" not in done.stdout + done.stderr


def test_on_a_terminal_the_demo_asks_and_draws(
    environment: dict[str, str], database_url: str, enrol: Callable[..., None]
) -> None:
    enrol(database_url, local_user())
    # Asked about the plan and then about the payment, it gets the same answer.
    code, screen = _on_a_terminal([*COMMAND, "demo"], environment, until="ater > ", typed="a\n", times=2)
    assert code == 0, screen
    for part in (
        "Is this plan of 3 tasks right?",
        "pay 0.25 LUSD to sample shop?",
        "✓ t1 Find what is rising",
        "guard: allow",
        "reviews: 2 answered",
        "Done",
    ):
        assert part in screen
    assert "scripted reviewer" not in screen
    assert "[e]dit" in screen


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), pytest.param(signal.SIGTERM, 143, marks=pytest.mark.long)]
)
def test_a_signal_stops_a_run_cleanly_and_it_goes_on_later(
    running: Running, environment: dict[str, str], number: signal.Signals, code: int
) -> None:
    running.process.send_signal(number)
    ended, out, err = running.end()
    assert ended == code
    error = json.loads(out)["error"]
    assert error["mission_id"] == running.mission_id
    assert f"chimera resume {running.mission_id[:8]}" in error["remedy"]
    assert f"chimera resume {running.mission_id[:8]}" in err
    assert "Traceback" not in err
    assert left_behind(environment["CHIMERA_HOME"]) == []
    late, document, _ = beside(environment, "resume", running.mission_id[:8], "--deadline", "1", "--json")
    result = json.loads(document)
    assert (late, result["status"], result["mission_id"]) == (1, "failed", running.mission_id)
    assert "CH705" in result["reasons"][0]


def test_a_running_mission_is_watched_and_cancelled_from_other_processes(
    running: Running, environment: dict[str, str]
) -> None:
    watching = subprocess.Popen(
        [*COMMAND, "watch", running.mission_id, "--events"],
        env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert watching.stderr is not None
    try:
        first = json.loads(watching.stderr.readline())  # what happened before is told as well
        busy = beside(environment, "resume", running.mission_id, "--json")
        cancelled = beside(environment, "cancel", running.mission_id[:8])
        rest = watching.communicate(timeout=LIMIT_S)[1]
    finally:
        watching.kill()
    code, out, _ = running.end()
    assert first["kind"] == "mission.started"
    assert (busy[0], json.loads(busy[1])["error"]["code"]) == (1, "CH703")
    assert "cancelled" in cancelled[2]
    assert (code, json.loads(out)["status"]) == (1, "cancelled")
    assert '"status":"cancelled"' in rest
    assert watching.returncode == 0
    assert left_behind(environment["CHIMERA_HOME"]) == []


def _on_a_terminal(
    command: list[str], environment: dict[str, str], *, until: str, typed: str, times: int = 1
) -> tuple[int, str]:
    """Run a command on a terminal, type each time that ``until`` is shown; its exit code and all that was shown."""
    process, terminal = pty.fork()
    if process == 0:
        os.execve(command[0], command, {**environment, "TERM": "xterm-256color", "LINES": "60"})
    shown, end, answered = b"", time.monotonic() + LIMIT_S, 0
    try:
        while time.monotonic() < end:
            if select.select([terminal], [], [], 0.1)[0]:
                try:
                    shown += os.read(terminal, 65_536)
                except OSError:  # the other side is closed
                    break
            asked = _COLOURS.sub("", shown.decode("utf-8", "replace")).count(until)
            if answered < min(asked, times):
                os.write(terminal, typed.encode())
                answered += 1
        else:
            os.kill(process, signal.SIGKILL)
    finally:
        status = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
        os.close(terminal)
    return status, _COLOURS.sub("", shown.decode("utf-8", "replace"))
