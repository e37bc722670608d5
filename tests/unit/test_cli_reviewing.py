"""A person at the terminal can approve, edit, reject, leave a question; what can take no effect is refused at once."""

import io
import json
import os
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from chimera.cli.reviewing import TerminalReviewer, read_payload
from chimera.cli.typing_in import TypedLines
from chimera.cli.view.question import question
from chimera.core.contracts import Plan, ReviewDecision, ReviewItem, ReviewPoint, Task
from chimera.core.errors import InputError

LOOK = ["trends__analyze_trends", "files__write_artifact"]
PLAN = Plan(tasks=[Task(id="t1", title="Look", instruction="Look", tools=LOOK, limits={"files__write_artifact": 2})])
PAYLOADS: dict[str, dict[str, Any]] = {
    "plan": {"kind": "plan", "plan": PLAN.plain()},
    "result": {"kind": "result", "task": "t1", "answer": "All is well", "blocking": True},
    "call": {
        "capability": "shop__buy",
        "arguments": {"item": "x"},
        "schema": {"properties": {"item": {"type": "string"}}, "required": ["item"]},
        "sealed": "0",
    },
    "give_up": {"kind": "give_up", "failed": ["t1"], "blocking": True},
}


def item(kind: str) -> ReviewItem:
    return ReviewItem(
        id="a2f54219",
        mission_id="m",
        point=ReviewPoint.QUALITY,
        question="Good?",
        payload=PAYLOADS[kind],
        confidence=0.5,
    )


class Keyboard(io.StringIO):
    """A stdin with a descriptor, as the reader needs it."""

    def __init__(self, descriptor: int) -> None:
        super().__init__()
        self._descriptor = descriptor

    def fileno(self) -> int:
        return self._descriptor


@pytest.fixture
def keys(monkeypatch: pytest.MonkeyPatch) -> Generator[int]:
    """The end of a pipe to type into."""
    reading, writing = os.pipe()
    monkeypatch.setattr(sys, "stdin", Keyboard(reading))
    yield writing
    os.close(reading)


async def asked(keys: int, typed: str, kind: str) -> tuple[ReviewDecision | None, list[str]]:
    """Type everything at once, then ask: nothing may be lost of what comes early."""
    told: list[str] = []

    @contextmanager
    def paused() -> Generator[None]:
        told.append("paused")
        yield
        told.append("resumed")

    os.write(keys, typed.encode())
    os.close(keys)
    return await TerminalReviewer(paused, "Ada")(item(kind)), told


async def test_approve_pauses_the_view_and_names_the_person(keys: int, capsys: pytest.CaptureFixture[str]) -> None:
    decision, told = await asked(keys, "a\n", "plan")
    assert decision == ReviewDecision(action="approve", reviewer="Ada")
    assert told == ["paused", "resumed"]
    shown = capsys.readouterr().err
    assert "Good?" in shown
    assert "trends__analyze_trends" in shown


async def test_a_rejection_has_a_reason_or_is_asked_again(keys: int) -> None:
    decision, _ = await asked(keys, "r\n\nr\nit is wrong\n", "result")
    assert decision == ReviewDecision(action="reject", reviewer="Ada", reason="it is wrong")


@pytest.mark.parametrize("typed", ["l\n", "", "what\n\nl\n", "x"])
async def test_later_and_the_end_of_input_leave_it_open(keys: int, typed: str) -> None:
    assert (await asked(keys, typed, "result"))[0] is None


async def test_an_edit_is_typed_in_where_there_is_no_editor(keys: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EDITOR", raising=False)
    monkeypatch.delenv("VISUAL", raising=False)
    wrong = 'e\n{"plan": {"tasks": [{"id": "nonsense"}]}}\n\n'
    decision, _ = await asked(keys, f"{wrong}e\n{json.dumps(PAYLOADS['plan'])}\n\n", "plan")
    assert decision == ReviewDecision(action="edit", reviewer="Ada", payload=PAYLOADS["plan"])


async def test_an_edit_is_made_in_the_editor(keys: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    editor = tmp_path / "editor"
    editor.write_text('#!/bin/sh\nsed -i.old "s/All is well/All is better/" "$2" && rm "$2.old"\n', "utf-8")
    editor.chmod(0o755)
    monkeypatch.setenv("VISUAL", f"{editor} --wait")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    decision, _ = await asked(keys, "e\n", "result")
    assert decision is not None
    assert decision.payload == {**PAYLOADS["result"], "answer": "All is better"}
    assert os.listdir(tmp_path) == ["editor"]  # nothing of the question stays on the disk


@pytest.mark.parametrize("editor", ["false", "/no/such/editor"])
async def test_an_editor_that_fails_changes_nothing(
    keys: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], editor: str
) -> None:
    monkeypatch.setenv("VISUAL", editor)
    assert (await asked(keys, "e\nl\n", "result"))[0] is None
    assert "CH100 the editor" in capsys.readouterr().err


async def test_the_arguments_of_a_tool_call_are_edited(
    keys: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What the editor shows is what can be changed; what does not fit is told, and asked again."""
    editor = tmp_path / "editor"
    editor.write_text(
        "#!/bin/sh\n"
        f'cd {tmp_path} && cp "$1" shown.json\n'
        '[ -e again ] && new=\\"y\\" || new=5\n'
        'sed "s/\\"x\\"/$new/" shown.json > "$1"; touch again\n',
        "utf-8",
    )
    editor.chmod(0o755)
    monkeypatch.setenv("VISUAL", str(editor))
    decision, _ = await asked(keys, "e\ne\n", "call")
    changed = {"capability": "shop__buy", "arguments": {"item": "y"}}
    assert decision == ReviewDecision(action="edit", reviewer="Ada", payload=changed)
    assert json.loads((tmp_path / "shown.json").read_text("utf-8")) == {**changed, "arguments": {"item": "x"}}
    assert 'the arguments do not fit shop__buy: item violates type "string"' in capsys.readouterr().err


async def test_there_is_nothing_to_edit_in_a_question_of_yes_or_no(
    keys: int, capsys: pytest.CaptureFixture[str]
) -> None:
    decision, _ = await asked(keys, "e\na\n", "give_up")
    assert decision == ReviewDecision(action="approve", reviewer="Ada")
    assert "[e]dit" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("plan", "not json"),
        ("plan", "[1]"),
        ("plan", '{"plan": {"tasks": [{"id": "x"}]}}'),
        ("call", "{}"),
        ("call", '{"arguments": {}}'),
        ("call", '{"capability": "shop__sell", "arguments": {"item": "y"}}'),
        ("give_up", "{}"),
        ("result", "[" * 9999),
    ],
)
def test_edits_that_cannot_take_effect_are_refused(kind: str, text: str) -> None:
    with pytest.raises(InputError):
        read_payload(item(kind), text)


async def test_lines_come_whole_and_in_order_from_pipes_and_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "answers"
    file.write_bytes(b"one\r\n\xff\n\nlast")
    with file.open() as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        lines = TypedLines()
        assert [await lines.next() for _ in range(5)] == ["one", "\ufffd", "", "last", None]


def test_a_plan_is_put_to_a_human_with_how_often_each_tool_may_be_called() -> None:
    """Proves FR-128; a dry run shows the same table."""
    out = io.StringIO()
    Console(file=out, width=160).print(question(item("plan")))
    assert "trends__analyze_trends, files__write_artifact ×2" in out.getvalue()
