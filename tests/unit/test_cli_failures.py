"""Whatever goes wrong leaves one line, one remedy, one exit code; a signal ends a command cleanly, and it can go on.

Proves FR-69.
"""

import asyncio
import errno
import json
import os
import signal

import pytest
from typer.testing import CliRunner

from chimera.cli.failures import as_chimera
from chimera.cli.main import app
from chimera.cli.running import Interrupted, Stop, run
from chimera.core import settings as settings_module
from chimera.core.errors import ModelTimeout, StoreUnavailable, ToolTimeout


def broken(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def fail(**_: object) -> None:
        raise error

    monkeypatch.setattr(settings_module, "load_settings", fail)


def test_the_error_of_ours_inside_a_group_is_the_one_that_counts() -> None:
    inner = ExceptionGroup("inner", [ValueError("x"), StoreUnavailable("gone")])
    assert as_chimera(BaseExceptionGroup("outer", [inner, KeyError("y")])).code == "CH301"


def test_a_strange_exception_is_named_with_its_place_and_without_its_message() -> None:
    async def work() -> None:
        raise KeyError("sk-secret-key")

    with pytest.raises(KeyError) as raised:
        run(work())
    known = as_chimera(ExceptionGroup("g", [raised.value]))
    assert known.code == "CH000"
    assert known.message.startswith("unexpected KeyError at chimera/cli/running.py:")
    assert "sk-secret" not in f"{known} {known.hint}"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_a_full_store(number: int) -> None:
    assert (as_chimera(OSError(number, "full")).code, as_chimera(OSError(number, "full")).exit_code) == ("CH304", 4)


@pytest.mark.parametrize(
    ("error", "code"), [(ModelTimeout("late"), 5), (ToolTimeout("late"), 7), (ValueError("sk-1"), 1)]
)
def test_two_lines_and_an_exit_code_and_no_traceback(
    monkeypatch: pytest.MonkeyPatch, error: Exception, code: int
) -> None:
    broken(monkeypatch, error)
    result = CliRunner().invoke(app, ["down"])
    assert result.exit_code == code
    assert result.stdout == ""
    assert [text[:2] for text in result.stderr.splitlines()] == ["CH", "->"]
    assert "sk-1" not in result.stderr
    document = CliRunner().invoke(app, ["down", "--json"])
    assert json.loads(document.stdout)["error"]["exit_code"] == document.exit_code == code
    assert document.stderr == ""


def test_the_traceback_is_there_for_who_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    broken(monkeypatch, ValueError("details"))
    monkeypatch.setenv("CHIMERA_DEBUG", "1")
    result = CliRunner().invoke(app, ["down"])
    assert "Traceback" in result.stderr
    assert "ValueError: details" in result.stderr


def test_a_mission_that_was_left_behind_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    broken(monkeypatch, StoreUnavailable("gone", mission_id="12345678-aaaa"))
    assert "chimera resume 12345678" in CliRunner().invoke(app, ["down"]).stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_cancels_cleans_up_and_tells_how_to_go_on(
    number: signal.Signals, capfd: pytest.CaptureFixture[str]
) -> None:
    cleaned: list[str] = []
    before = signal.getsignal(number)

    async def work() -> None:
        try:
            os.kill(os.getpid(), number)
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            cleaned.append("closed")
            raise StoreUnavailable("what goes wrong on the way out")

    with pytest.raises(Interrupted) as stopped:
        run(work(), Stop(mission_id="12345678-aaaa"))
    assert cleaned == ["closed"]
    assert stopped.value.exit_code == 128 + number
    assert "chimera resume 12345678" in stopped.value.remedy
    assert "chimera resume 12345678" in capfd.readouterr().err
    assert signal.getsignal(number) is before


def test_an_interrupted_command_has_the_exit_code_of_its_signal(monkeypatch: pytest.MonkeyPatch) -> None:
    broken(monkeypatch, Interrupted(signal.SIGTERM, "12345678-aaaa"))
    result = CliRunner().invoke(app, ["down"])
    assert result.exit_code == 143
    assert result.stderr.splitlines() == [
        "stopped by SIGTERM",
        "-> `chimera resume 12345678` goes on from the last checkpoint.",
    ]
    document = CliRunner().invoke(app, ["down", "--json"])
    assert json.loads(document.stdout)["error"]["mission_id"] == "12345678-aaaa"
