"""The model, the tool and the judge's rule that every framework works with. Needs no package; the seed decides all.

A run is one agent that asks its model what to do, calls the one tool, asks again, and is judged by a second one: three
calls of the model, each after a latency that seed, run and turn decide. What the agent answers names the note that the
tool found for this very run, and the judge passes no other answer: a framework that loses a message is found out.
"""

import asyncio
import json
import random
import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

WORKER = "You search the notes of this week with the tool `search`, and answer with what you found there."
JUDGE = "You judge an answer: say as JSON whether it names a note (passed), and how sure you are (confidence)."
TOOL = "search"
SIGMA = 0.4
"""Of the logarithm of a latency: log-normal, with a heavy tail."""
_TIMES = 65_536
_WORDS = ("orders", "prices", "team", "shop", "answer", "page", "week", "report", "returns", "stock", "Monday", "help")
_RUN = re.compile(r"run-\d+")
_NOTE = re.compile(r"note-[0-9a-f]{8}")
_LONG = [random.Random(1).choice(_WORDS) for _ in range(4_096)]


@dataclass(frozen=True)
class Said:
    """What the model said: words, or, where ``arguments`` are, a call of the tool."""

    text: str = ""
    arguments: Mapping[str, Any] = field(default_factory=dict)


class Simulated:
    """The model. Latencies are in seconds; ``median_s`` 0 takes none. ``waited`` tells what the calls of a run took."""

    def __init__(self, seed: int, median_s: float) -> None:
        pick = random.Random(seed)
        self._times = [median_s * pick.lognormvariate(0.0, SIGMA) for _ in range(_TIMES)]
        self._waited: dict[str, list[float]] = {}
        self.calls = 0

    async def say(self, role: str, prompt: str, found: str | None = None) -> Said:
        """Answer as ``worker``, ``judge`` or whoever else asks, after the latency of this run's turn.

        ``prompt`` holds the name of the run; ``found`` is what the tool said, when it was called.
        """
        run = run_in(prompt)
        turns = self._waited.setdefault(run, [])
        latency = self._times[(int(run[4:]) * 8 + len(turns)) % _TIMES]
        turns.append(latency)
        self.calls += 1
        await asyncio.sleep(latency)
        if role == "judge":
            return Said(json.dumps({"passed": note_of(run) in prompt, "confidence": 0.95}))
        if role != "worker":
            return Said("as you say")
        if found is None:
            return Said(arguments={"text": f"orders and prices {run}", "limit": 5})
        note = _NOTE.search(found)
        return Said(f"For {run} the notes of this week speak of orders and prices: {note[0] if note else 'none'}.")

    def waited(self, run: str) -> float:
        """Seconds that the calls of a run took, and forget them."""
        return sum(self._waited.pop(run, ()))


async def search(text: str, limit: int = 5) -> str:
    """Search the notes of this week.

    Args:
        text: what to look for.
        limit: how many notes at most.
    """
    run = run_in(text)
    at = zlib.crc32(run.encode()) % (len(_LONG) - 160)
    return f"{note_of(run)} {' '.join(_LONG[at : at + 160])}"


PARAMETERS: Mapping[str, Any] = {
    "type": "object",
    "properties": {"text": {"type": "string"}, "limit": {"type": "integer"}},
    "required": ["text"],
}
"""The JSON Schema of what the tool takes."""


def run_in(text: str) -> str:
    """The name of the run that a text speaks of.

    Raises:
        ValueError: it speaks of none.
    """
    named = _RUN.search(text)
    if named is None:
        raise ValueError("the text names no run")
    return named[0]


def task_of(run: str) -> str:
    """What the agent is asked."""
    return f"Search the notes for orders and prices. {run}"


def to_judge(run: str, answer: str) -> str:
    """What the judge is asked."""
    return f"The task: {task_of(run)}\nThe answer: {answer}"


def note_of(run: str) -> str:
    """The note that the tool finds for a run."""
    return f"note-{zlib.crc32(run.encode()):08x}"


def right(run: str, answer: str, verdict: str) -> bool:
    """Whether the answer names the note of this run, and the judge passed it."""
    return note_of(run) in answer and json.loads(verdict)["passed"] is True
