"""Nothing hostile reaches a terminal: not from a goal, a feed row, a tool result, a plan, a question or a document."""

import io
import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from chimera.cli.view.lines import event_line
from chimera.cli.view.output import escaped
from chimera.cli.view.progress import Progress
from chimera.cli.view.question import question
from chimera.cli.view.text import clean, elapsed, line, size
from chimera.cli.view.tree import plan_tree
from chimera.core.contracts import Event, ReviewItem, ReviewPoint

HOSTILE = "a\x1b[31mred\x1b]0;title\x07\x9b2Jb\u202egnp.exe\u2066\u200bc\r\x00\x7f\x1bPq\x1b\\d\U000e0041[bold red]x[/]"
ACTED_ON = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\u200b\u200e\u200f\ud800-\udfff]")


def test_sequences_go_as_a_whole_and_words_stay() -> None:
    assert clean(HOSTILE) == "aredbgnp.exec\nd[bold red]x[/]"


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("\x1b\x1b[m[31mx", "[31mx"),  # what taking one sequence out leaves behind is no sequence either
        ("tab\tand\nbreak", "tab\tand\nbreak"),
        ("over\rwrite", "over\nwrite"),
        ("\ud800", "\ufffd"),
        ("\x1b]8;;http://example.com\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("नमस्ते 👩‍🚀 مرحبا", "नमस्ते 👩‍🚀 مرحبا"),  # the joiners of scripts and emoji stay
    ],
)
def test_known_attacks_and_honest_text(given: str, shown: str) -> None:
    assert clean(given) == shown


@given(
    st.text(alphabet=st.characters(), max_size=60) | st.text(alphabet="\x1b\x9b\x9d[]0;31mJ\x07\\P?\r\n ", max_size=40)
)
def test_nothing_that_a_terminal_acts_on_is_left(text: str) -> None:
    once = clean(text)
    assert not ACTED_ON.search(once)
    assert clean(once) == once
    assert "\n" not in line(text)


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=60))
def test_a_json_document_keeps_its_value_and_loses_its_teeth(text: str) -> None:
    document = escaped(json.dumps({"text": text}, ensure_ascii=False))
    assert json.loads(document) == {"text": text}
    assert not ACTED_ON.search(document)


def test_markup_of_strangers_is_text_in_tree_lines_and_questions() -> None:
    progress, lines = Progress("m"), list[str]()
    for kind, data in (
        ("mission.started", {"goal": HOSTILE}),
        (
            "plan",
            {"team": HOSTILE, "round": 1, "tasks": [{"id": "t1", "title": HOSTILE, "tools": [HOSTILE], "needs": []}]},
        ),
        ("tool.failed", {"team": HOSTILE, "task": "t1", "capability": HOSTILE, "code": "CH605", "message": HOSTILE}),
        ("verdict", {"team": HOSTILE, "task": "t1", "outcome": "retry", "confidence": 0.1, "reasons": [HOSTILE]}),
        ("review.asked", {"item": "0" * 36, "question": HOSTILE}),
        ("unheard.of", {"x": HOSTILE}),
    ):
        event = Event(mission_id="m", kind=kind, at="2026-11-23T00:00:00+00:00", data=data)
        progress.apply(event)
        lines.append(event_line(event))
    item = ReviewItem(
        id="1", mission_id="m", point=ReviewPoint.SECURITY, question=HOSTILE, confidence=0, reasons=[HOSTILE],
        payload={"capability": HOSTILE, "arguments": {"x": HOSTILE}},
    )  # fmt: skip
    out = io.StringIO()
    Console(file=out, width=200, markup=True, emoji=True).print(plan_tree(progress), question(item))
    shown = out.getvalue()  # though the markup of rich was on
    for text in (shown, *lines):
        assert not ACTED_ON.search(text)
    assert shown.count("[bold red]x[/]") >= 6
    assert all("[bold red]x[/]" in text for text in (lines[0], lines[2], lines[5]))


def test_amounts_for_people() -> None:
    assert [size(0), size(2221), size(64_000_000)] == ["0 B", "2.2 kB", "64.0 MB"]
    assert [elapsed(3.21), elapsed(75), elapsed(3720)] == ["3.2 s", "1 min 15 s", "1 h 02 min"]
