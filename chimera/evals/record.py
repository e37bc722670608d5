"""What came of one case: the result, and the trajectory as the audit log tells it."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from chimera.core.contracts import Evidence, MissionResult
from chimera.evals.cases import Case

ANSWER = "(answer)"
"""The name of the answer among the documents; every other one is an artifact."""


@dataclass(frozen=True)
class ToolCall:
    """One call that a worker proposed, what the guard said, and whether it was made."""

    name: str
    action: str
    rules: list[str]
    task: str
    performed: bool


@dataclass(frozen=True)
class Question:
    """One question that a mission waited for, and its answer: approve, reject, edit, or open."""

    point: str
    question: str
    answer: str
    reviewer: str = ""


@dataclass(frozen=True)
class Record:
    """Everything that the metrics look at.

    ``case`` is as it was written; its files were copied to ``folder``. ``observations`` are the tool results that
    tasks kept, ``model_calls`` the tokens of each call. ``raised`` is an error of ours that came out of the run,
    ``chain`` what is wrong with the audit chain, ``problem`` why the harness could not observe the case at all.
    """

    case: Case
    folder: Path = Path("/")
    mission_id: str = ""
    status: str = "unknown"
    result: MissionResult | None = None
    raised: str = ""
    documents: dict[str, str] = field(default_factory=dict[str, str])
    observations: list[str] = field(default_factory=list[str])
    events: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    model_calls: list[int] = field(default_factory=list[int])
    notices: int = 0
    waited: bool = False
    chain: str = ""
    seconds: float = 0.0
    offline: bool = True
    problem: str = ""

    @property
    def calls(self) -> list[ToolCall]:
        """The tool calls in order; an escalated one was made if a human approved it."""
        return _tool_calls(self.events)

    @property
    def performed(self) -> list[str]:
        """The names of the tools that were really called, in order."""
        return [call.name for call in self.calls if call.performed]

    @property
    def questions(self) -> list[Question]:
        """The questions that the mission waited for, in order."""
        answers = {event["data"]["item"]: event for event in self.events if event["kind"] == "review.answered"}
        found: list[Question] = []
        for event in self.events:
            if event["kind"] == "review.asked":
                data, answer = event["data"], answers.get(event["data"]["item"])
                said = str(answer["data"]["action"]) if answer else "open"
                who = str(answer["data"]["reviewer"]) if answer else ""
                found.append(Question(str(data["point"]), str(data["question"]), said, who))
        return found

    @property
    def rulings(self) -> list[dict[str, Any]]:
        """The decisions of the guards, in order."""
        return [event["data"] for event in self.events if event["kind"] == "guard.decision"]

    @property
    def evidence(self) -> list[Evidence]:
        """The evidence of the result."""
        return self.result.evidence if self.result else []

    @property
    def tokens(self) -> int:
        """Tokens of all model calls."""
        return sum(self.model_calls)

    @property
    def said(self) -> list[str]:
        """Every text that the user is shown: documents, reasons, and what was not met."""
        result = self.result
        shown = [*result.reasons, *result.unmet] if result else []
        return [*self.documents.values(), *shown, self.raised]

    def excused(self) -> bool:
        """Whether the ending is accepted from the offline rules only: then what a success must bring is not asked."""
        expect = self.case.expect
        return self.offline and self.status in expect.status_offline and self.status not in expect.status

    def plain(self) -> dict[str, Any]:
        """The record as plain data for the report."""
        return {
            "mission_id": self.mission_id,
            "status": self.status,
            "raised": self.raised,
            "problem": self.problem,
            "seconds": round(self.seconds, 2),
            "tokens": self.tokens,
            "model_calls": len(self.model_calls),
            "notices": self.notices,
            "waited": self.waited,
            "tool_calls": [asdict(call) for call in self.calls],
            "questions": [asdict(question) for question in self.questions],
            "guards": [
                {"edge": found["edge"], "action": found["action"], "rules": found["rules"], "reasons": found["reasons"]}
                for found in self.rulings
                if found["action"] != "allow"
            ],
            "documents": self.documents,
            "evidence": [item.plain() for item in self.evidence],
            "unmet": self.result.unmet if self.result else [],
            "reasons": self.result.reasons if self.result else [],
            "provider": self.result.provider if self.result else "",
            "confidence": self.result.confidence if self.result else None,
            "trail": self.result.trail if self.result else "",
        }


def _tool_calls(events: list[dict[str, Any]]) -> list[ToolCall]:
    calls: list[ToolCall] = []
    waiting: list[int] = []
    for event in events:
        data = event["data"]
        if event["kind"] == "guard.decision" and data["edge"] == "tool_call":
            if data["action"] == "escalate":
                waiting.append(len(calls))
            name = str(data.get("capability", "(a tool that does not exist)"))
            made = data["action"] in ("allow", "edit")
            calls.append(ToolCall(name, data["action"], list(data["rules"]), str(data.get("task", "")), made))
        elif event["kind"] == "review.answered" and data["point"] == "security" and waiting:
            place = waiting.pop(0)
            calls[place] = ToolCall(**{**asdict(calls[place]), "performed": data["action"] == "approve"})
    return calls
