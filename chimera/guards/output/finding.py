"""What a check found in a text, what becomes of the text, and what the user said before."""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, cast

from chimera.core.contracts import Decision, Threat
from chimera.guards.request import GuardRequest
from chimera.guards.sanitize import visible

Action = Literal["allow", "edit", "escalate", "reject"]
ROUNDS = 4
"""What is left after an edit is looked at again: taking something out can join its neighbours to something new."""

_ACTIONS: Sequence[Action] = ("allow", "edit", "escalate", "reject")
_THREATS = list(Threat)


@dataclass(frozen=True)
class Finding:
    """One place in a text, from ``start`` to ``end`` in characters.

    ``instead`` takes its place when the action is edit. ``reason`` never holds what was found.
    """

    rule: str
    reason: str
    start: int
    end: int
    action: Action = "edit"
    threat: Threat = Threat.LOW
    instead: str = ""


@dataclass(frozen=True)
class Context:
    """What a check may know besides the text.

    ``named`` are the user's own words: goal, inputs, constraints, persona. ``sources`` are addresses that the evidence
    comes from, or texts of evidence that hold them. ``question`` is what the text answers.
    """

    named: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    question: str = ""

    @classmethod
    def of(cls, request: GuardRequest) -> "Context":
        """What a request says: ``notes`` may carry ``sources`` (a list of texts) and ``question``."""
        mission = request.mission
        named = (mission.goal, *mission.inputs.values(), *mission.constraints, mission.persona) if mission else ()
        noted: Any = request.notes.get("sources")
        sources = cast("Iterable[Any]", noted) if isinstance(noted, list | tuple | set | frozenset) else ()
        question = request.notes.get("question")
        return cls(
            named=tuple(text for text in named if text),
            sources=tuple(str(source) for source in sources),
            question=question if isinstance(question, str) else mission.goal if mission else "",
        )


Scanner = Callable[[str], list[Finding]]


@dataclass(frozen=True)
class Outcome:
    """What a check makes of one text: the strictest action, and the text as it may go on."""

    text: str
    action: Action = "allow"
    threat: Threat = Threat.NONE
    findings: tuple[Finding, ...] = field(default=())

    @property
    def reasons(self) -> list[str]:
        """What was found, each thing once, with the number of places."""
        return told(self.findings)

    def decision(self, rule: str) -> Decision | None:
        """The same as a guard says it, without a payload; None when nothing was found."""
        return decision(rule, self.findings)


def examine(text: str, scan: Scanner) -> Outcome:
    """Look at what a human sees of a text, edit it, and look again until nothing is left to edit.

    Linear in the length of the text when ``scan`` is. A text that still changes after ``ROUNDS`` rounds is rejected.
    """
    found: list[Finding] = []
    for _ in range(ROUNDS):
        shown = visible(text)
        new = scan(shown)
        if not new and not found:
            return Outcome(text)
        found += new
        edits = [finding for finding in new if finding.action == "edit"]
        if not edits:
            return Outcome(text, *strictest(found), tuple(found))
        text = replaced(text, shown, edits)
    found.append(Finding("output.unsettled", "the text changes with every edit", 0, 0, "reject", Threat.MEDIUM))
    return Outcome(text, *strictest(found), tuple(found))


class Spans:
    """Parts of a text. Whether something touches one of them is answered in the logarithm of their number."""

    def __init__(self, spans: Iterable[tuple[int, int]]) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []
        for start, end in sorted(spans):
            if self._ends and start <= self._ends[-1]:
                self._ends[-1] = max(end, self._ends[-1])
            else:
                self._starts.append(start)
                self._ends.append(end)

    def touch(self, start: int, end: int) -> bool:
        """Whether one of them has a character between ``start`` and ``end``."""
        last = bisect_left(self._starts, end) - 1
        return last >= 0 and self._ends[last] > start


def strictest(found: Iterable[Finding]) -> tuple[Action, Threat]:
    """The strictest action and the highest threat."""
    findings = list(found)
    action: Action = _ACTIONS[max((_ACTIONS.index(finding.action) for finding in findings), default=0)]
    return action, max((finding.threat for finding in findings), key=_THREATS.index, default=Threat.NONE)


def told(found: Iterable[Finding]) -> list[str]:
    """What was found in words: the rule, the reason, and how often when it was more than once."""
    counted: dict[str, int] = {}
    for finding in found:
        line = f"{finding.rule}: {finding.reason}"
        counted[line] = counted.get(line, 0) + 1
    return [line if number == 1 else f"{line} ({number} times)" for line, number in counted.items()]


def decision(rule: str, found: Iterable[Finding]) -> Decision | None:
    """What a guard says about findings; None without any."""
    findings = list(found)
    if not findings:
        return None
    action, threat = strictest(findings)
    rules = list(dict.fromkeys([rule, *(finding.rule for finding in findings)]))
    return Decision(action=action, threat=threat, reasons=told(findings), rules=rules)


def replaced(text: str, shown: str, edits: Iterable[Finding]) -> str:
    """The text with the edits made. Their places count in ``shown``, which is ``text`` without hidden characters.

    Of two that overlap, the one that starts first stands and the other is widened into it.
    """
    where = None if len(text) == len(shown) else _places(text, shown)
    parts: list[str] = []
    done = 0
    for finding in sorted(edits, key=lambda finding: (finding.start, -finding.end)):
        start, end = finding.start, finding.end
        if where is not None:
            start, end = where[start], where[end - 1] + 1 if end > finding.start else where[start]
        if start < done:
            done = max(done, end)
            continue
        parts += [text[done:start], finding.instead]
        done = end
    return "".join(parts) + text[done:]


def _places(text: str, shown: str) -> list[int]:
    """Where each character of ``shown`` stands in ``text``, from which characters were only taken out."""
    places: list[int] = []
    at = 0
    for char in shown:
        while text[at] != char:
            at += 1
        places.append(at)
        at += 1
    return [*places, len(text)]
