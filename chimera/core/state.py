"""The channels of the graphs. They hold plain JSON data and messages, ids instead of secrets, and no live objects.

A reader of a checkpoint needs nothing of ours: every value is a ``plain()`` dump of a contract, or a LangChain message.
"""

import operator
from typing import Annotated, Any, NotRequired

from langchain_core.messages import AnyMessage
from langgraph.graph.message import add_messages
from typing_extensions import TypedDict  # pydantic describes only this one before Python 3.12

Plain = dict[str, Any]


def keep_newest(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    """Merge by key, later writes win: parallel agents write different tasks, a retry replaces its own."""
    return {**before, **after}


class ReviewState(TypedDict):
    """One question to a human, and its answer."""

    review_item: NotRequired[Plain]
    review_decision: NotRequired[Plain | None]


class MissionInput(TypedDict):
    """What starts a mission: itself, whether to ask about the plan or to stop after it, and known results."""

    mission: Plain
    approve_plan: NotRequired[bool]
    dry_run: NotRequired[bool]
    finished: NotRequired[dict[str, Plain]]


class MissionState(ReviewState):
    """The super-orchestrator's channels."""

    mission_id: str
    mission: Plain
    approve_plan: NotRequired[bool]
    dry_run: NotRequired[bool]
    finished: NotRequired[dict[str, Plain]]
    teams: NotRequired[list[Plain]]
    reports: NotRequired[Annotated[list[Plain], operator.add]]
    made_from: NotRequired[str]
    refusal: NotRequired[Plain | None]
    result: NotRequired[Plain]


class TeamState(ReviewState):
    """A team's channels. ``outcomes`` and ``verdicts`` are by task id, of the current plan.

    ``asking`` holds, by task id, the question of an agent that waits for a human, or None once it goes on. ``finished``
    holds approved results with their verdicts by fingerprint, whatever plan they come from.
    """

    mission_id: str
    mission: Plain
    team: Plain
    approve_plan: NotRequired[bool]
    dry_run: NotRequired[bool]
    context_version: str
    plan: Plain
    plan_round: int
    replans: NotRequired[int]
    wave: list[str]
    attempts: dict[str, int]
    outcomes: Annotated[dict[str, Plain], keep_newest]
    asking: NotRequired[Annotated[dict[str, Plain | None], keep_newest]]
    verdicts: dict[str, Plain]
    states: NotRequired[dict[str, str]]
    finished: NotRequired[dict[str, Plain]]
    feedback: NotRequired[dict[str, list[str]]]
    refused_tools: NotRequired[list[str]]
    setbacks: NotRequired[list[str]]
    questions: NotRequired[list[Plain]]
    problem: NotRequired[Plain | None]
    reports: NotRequired[Annotated[list[Plain], operator.add]]


class TeamReport(TypedDict):
    """What a team hands back to the mission."""

    reports: Annotated[list[Plain], operator.add]


class AgentState(ReviewState):
    """A leaf agent's channels: one task, one conversation. ``marks``: the code of the marks around its data.

    ``intent_id``, ``at`` and ``decision`` are those of a payment while one of its calls is paid for.
    """

    mission_id: str
    mission: Plain
    context_version: str
    team: str
    plan_round: int
    attempt: int
    task: Plain
    earlier: NotRequired[list[Plain]]
    builds_on: NotRequired[list[str]]
    feedback: NotRequired[list[str]]
    guidance: NotRequired[list[str]]
    asked: NotRequired[Plain]
    messages: Annotated[list[AnyMessage], add_messages]
    marks: NotRequired[str]
    turns: NotRequired[int]
    calls: NotRequired[list[Plain]]
    raw: NotRequired[list[Plain]]
    observations: NotRequired[Annotated[list[Plain], operator.add]]
    provider: NotRequired[str]
    result: NotRequired[Plain]
    intent_id: NotRequired[str]
    at: NotRequired[str]
    decision: NotRequired[Plain | None]


class PaymentState(ReviewState):
    """A payment's channels: the id of the intent, and where the database last said that it is.

    ``decision`` is the guard's, ``decide_only`` ends it before anything is reserved. While a human is asked, the
    question is here too; nothing that is paid is read from it, nor from the answer.
    """

    intent_id: str
    decide_only: NotRequired[bool]
    at: NotRequired[str]
    decision: NotRequired[Plain | None]
