"""A result is shown whole and honest: state, cost, sources, trail and what is missing; shells and machines too."""

import io
import sys
from pathlib import Path
from typing import Any

import pytest

from chimera.cli.door import EXIT_CODES
from chimera.cli.view.estimate import cost, expected, plans, show_plans
from chimera.cli.view.outcome import badge, exit_code, present
from chimera.core.contracts import Artifact, Evidence, MissionResult, MissionStatus, Plan, Task, Usage
from chimera.core.errors import catalogue
from chimera.core.money import Money
from chimera.core.settings import Settings
from chimera.swarm.telling import document

FOLDER = Path("/data/artifacts")
RESULT = MissionResult(
    mission_id="12345678-aaaa",
    status=MissionStatus.PARTIAL,
    answer="# Briefing\n\n- Quillfern rises [feed:1]",
    artifacts=[Artifact(name="briefing.md", size=2221, sha256="ab" * 32)],
    evidence=[Evidence(id=f"feed:{n}", text="a post", source="feed.csv", sha256="cd" * 32) for n in range(3)],
    unmet=["a translation"],
    reasons=["t3: no tool speaks Finnish"],
    usage=Usage(calls=3, tokens_in=1000, tokens_out=50, cost=Money(units=1500)),
    confidence=0.88,
    provider="offline",
    trail="ef" * 32,
)


class Terminal(io.StringIO):
    """A stdout that says that it is a terminal."""

    def isatty(self) -> bool:
        return True


def shown(monkeypatch: pytest.MonkeyPatch, out: io.StringIO, result: MissionResult, **options: Any) -> str:
    monkeypatch.setenv("COLUMNS", "140")
    monkeypatch.setattr(sys, "stdout", out)
    present(result, FOLDER, **options)
    return out.getvalue()


@pytest.mark.parametrize("out", [io.StringIO, Terminal])
def test_everything_that_a_reader_needs_is_there(monkeypatch: pytest.MonkeyPatch, out: type[io.StringIO]) -> None:
    text = shown(monkeypatch, out(), RESULT, notes=["Sample data"])
    for part in (
        "Partly done",
        "Sample data",
        "Quillfern rises",
        "/data/artifacts/12345678-aaaa/briefing.md",
        "feed.csv  3 pieces",
        "a translation",
        "no tool speaks Finnish",
        "0.88",
        "offline rules: no language model",
        "0.0015 USD (3 model calls, 1,000 tokens in, 50 out)",
        "ef" * 32,
        "12345678-aaaa",
    ):
        assert part in text


@pytest.mark.parametrize("out", [io.StringIO, Terminal])
def test_a_hostile_answer_draws_nothing(monkeypatch: pytest.MonkeyPatch, out: type[io.StringIO]) -> None:
    hostile = (
        "x\x1b]0;pwn\x07\x1b[2J [click](http://example.com/\x1b[5m) ![i](http://example.com/i)\n\n```\n\x9b31m\n```"
    )
    text = shown(monkeypatch, out(), RESULT.model_copy(update={"answer": hostile, "unmet": [hostile]}))
    assert "\x1b]" not in text  # no title, and no link that hides where it goes
    assert "\x1b[2J" not in text
    assert "\x1b[5m" not in text
    assert "\x9b" not in text
    assert "http://example.com/" in text


def test_a_result_that_came_from_rules_says_so_and_others_do_not() -> None:
    assert "offline rules" in badge("offline")
    assert badge("openai:gpt-5") == "openai:gpt-5"
    assert badge("") == ""


def test_the_document_is_the_contract_with_places() -> None:
    made = document(RESULT, FOLDER, plans={})
    assert made["artifacts"][0]["path"] == "/data/artifacts/12345678-aaaa/briefing.md"
    assert {key: value for key, value in made.items() if key not in ("artifacts", "plans")} == {
        key: value for key, value in RESULT.plain().items() if key != "artifacts"
    }


def test_every_ending_and_every_error_has_a_documented_exit_code() -> None:
    ends = {status: exit_code(RESULT.model_copy(update={"status": status})) for status in MissionStatus}
    assert ends == {
        MissionStatus.RUNNING: 1,
        MissionStatus.WAITING: 3,
        MissionStatus.DONE: 0,
        MissionStatus.PARTIAL: 8,
        MissionStatus.FAILED: 1,
        MissionStatus.REJECTED: 6,
        MissionStatus.CANCELLED: 1,
    }
    assert {*ends.values(), *(kind.exit_code for kind in catalogue()), 130, 143} <= set(EXIT_CODES)


def test_an_estimate_takes_the_newest_plans_and_the_dearer_price() -> None:
    def row(number: int, tokens: int) -> dict[str, Any]:
        task = {"id": "t1", "title": "x", "instruction": "x", "cost_tokens": tokens}
        return {"team": "a", "plan_round": number, "plan": task}

    newest = plans([row(1, 10), row(2, 2_000_000)])
    assert [task.cost_tokens for task in newest["a"].tasks] == [2_000_000]
    settings = Settings.model_validate({"prices": {"openai:x": (1_000_000, 4_000_001)}})
    assert cost(2_000_000, "openai:x", settings) == Money(units=8_000_002)
    assert cost(1, "openai:x", settings) == Money(units=5)  # rounded up
    assert cost(1, "unknown", settings) is None


@pytest.mark.parametrize(
    ("model", "tokens", "estimate", "words"),
    [
        ("offline", 0, (None, {"units": 0, "asset": "USD"}), "nothing, as the offline rules cost nothing"),
        ("openai:x", 0, (None, None), "none, as the planner gave no tokens"),
        ("openai:x", 2_000, (2_000, {"units": 8_000, "asset": "USD"}), "about 2,000 tokens, at most about 0.008 USD"),
        ("openai:y", 2_000, (2_000, None), "about 2,000 tokens, no price of openai:y in the settings"),
    ],
)
def test_an_estimate_says_what_is_known(
    model: str,
    tokens: int,
    estimate: tuple[int | None, dict[str, Any] | None],
    words: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Proves FR-20: no tokens are no estimate, and never shown as nought."""
    task = Task(id="t1", title="x", instruction="x", cost_tokens=tokens)
    prices = {"openai:x": (1_000_000, 4_000_000)}
    made = expected({"a": Plan(tasks=[task])}, Settings.model_validate({"model": model, "prices": prices}))
    assert (made["tokens"], made["cost"]) == estimate
    show_plans({"a": Plan(tasks=[task])}, made)
    shown = capsys.readouterr().out
    assert f"Estimate: {words}\n" in shown
    assert "~0" not in shown
    assert "0 tokens" not in shown.replace("2,000 tokens", "")
