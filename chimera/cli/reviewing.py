"""Asks the person at the terminal what a mission asks a human, and takes edits in their editor."""

import asyncio
import json
import os
import shlex
import sys
import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Any, cast

from rich.text import Text

from chimera.cli.typing_in import TypedLines
from chimera.cli.view.output import stderr, tell
from chimera.cli.view.question import question
from chimera.core.contracts import ReviewDecision, ReviewItem
from chimera.core.errors import InputError
from chimera.guards.permissions.first import local_user
from chimera.review.answers import editable, why_unusable

KEYS = {"a": "approve", "e": "edit", "r": "reject", "l": "later"}


class TerminalReviewer:
    """Puts each item to the person at the terminal; ``later`` leaves it on the queue."""

    def __init__(self, paused: Callable[[], AbstractContextManager[None]], name: str | None = None) -> None:
        self._paused = paused
        self._name = name or local_user()
        self._lines = TypedLines()

    async def __call__(self, item: ReviewItem) -> ReviewDecision | None:
        """Ask until there is an answer that can be used; end of input means later."""
        with self._paused():
            stderr().print(question(item))
            while True:
                choice = await self._choose(item)
                if choice in ("", "later"):
                    return None
                try:
                    return await self._decide(item, choice)
                except InputError as error:
                    tell(f"{error} {error.hint}")

    async def _ask(self, prompt: str) -> str | None:
        stderr().print(Text(prompt, style="bold"), end="")
        sys.stderr.flush()
        return await self._lines.next()

    async def _choose(self, item: ReviewItem) -> str:
        words = [word for word in KEYS.values() if word != "edit" or editable(item) is not None]
        shown = "  ".join(f"[{word[0]}]{word[1:]}" for word in words)
        while True:
            given = await self._ask(f"{shown} > ")
            if given is None:
                return ""
            word = KEYS.get(given.strip().lower()[:1], "")
            if word in words:
                return word

    async def _decide(self, item: ReviewItem, choice: str) -> ReviewDecision:
        if choice == "edit":
            payload = await edited(item, self._lines)
            return ReviewDecision(action="edit", reviewer=self._name, payload=payload)
        reason = await self._ask("reason > ") if choice == "reject" else ""
        if choice == "reject" and not (reason or "").strip():
            raise InputError("a rejection needs a reason", remedy="The planner and the record use it.")
        return ReviewDecision(
            action="reject" if choice == "reject" else "approve",
            reviewer=self._name,
            reason=(reason or "").strip()[:4_000],
        )


async def edited(item: ReviewItem, lines: TypedLines) -> dict[str, Any]:
    """The payload as the person changed it: in their editor, else as JSON typed in.

    Raises:
        InputError: it is nothing that can stand in the place of what was shown.
    """
    shown = editable(item)
    if shown is None:
        raise InputError("there is nothing to edit here", remedy="Approve or reject it.")
    editor = os.environ.get("VISUAL") or os.environ.get("EDITOR")
    text = await _in_editor(shlex.split(editor), shown) if editor else await _typed(lines)
    return read_payload(item, text)


def read_payload(item: ReviewItem, text: str) -> dict[str, Any]:
    """An edited payload, checked as far as it can be before the mission takes it.

    Raises:
        InputError: it is not a JSON object, or nothing that can stand in the place of what was shown.
    """
    try:
        payload = json.loads(text)
    except (ValueError, RecursionError):
        raise InputError(
            "the edited payload is not JSON", remedy="Keep the form that `chimera review show` prints."
        ) from None
    if not isinstance(payload, dict):
        raise InputError("the edited payload is not a JSON object", remedy="Keep the form that it had.")
    given = cast("dict[str, Any]", payload)
    if (why := why_unusable(item, ReviewDecision(action="edit", reviewer="?", payload=given))) is not None:
        raise InputError(why, remedy="Correct the edit, or approve or reject what is shown.")
    return given


async def _in_editor(command: list[str], payload: dict[str, Any]) -> str:
    handle, name = tempfile.mkstemp(prefix="chimera-review-", suffix=".json")
    path = Path(name)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as writing:
            writing.write(json.dumps(payload, ensure_ascii=False, indent=2) + "\n")
        try:
            process = await asyncio.create_subprocess_exec(*command, name)
        except OSError as error:
            raise InputError(f"the editor {command[0]} cannot be started: {error.strerror}") from None
        try:
            code = await process.wait()
        except asyncio.CancelledError:
            with suppress(ProcessLookupError):
                process.terminate()
            await process.wait()
            raise
        if code != 0:
            raise InputError(
                f"the editor ended with {code}; nothing was taken over", remedy="Try again, or choose another."
            )
        return await asyncio.to_thread(path.read_text, "utf-8")
    finally:
        os.unlink(name)


async def _typed(lines: TypedLines) -> str:
    tell("Type the payload as JSON; a blank line ends it. ($EDITOR opens it in an editor.)")
    found: list[str] = []
    while (given := await lines.next()) is not None and given.strip():
        found.append(given)
    return "\n".join(found)
