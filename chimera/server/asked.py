"""What a client of the LangGraph server may send: one contract for each served graph, closed to unknown fields.

The channels of a graph hold more than a client may set: results that count as finished, decisions of guards. Nothing
but these fields enters a run. File paths in ``inputs`` are read on the server: whoever may start runs may read what the
server's user may read, so do not offer the server to people you do not trust with that.
"""

from collections.abc import Mapping
from typing import Any, TypeVar
from uuid import UUID

from pydantic import BaseModel, ValidationError, field_validator

from chimera.core.contracts import Contract, Mission, ReviewItem, Task, TeamBrief
from chimera.core.errors import InputError
from chimera.core.invalid import first_problem
from chimera.nodes.intake import read_mission
from chimera.review.answers import kind_of
from chimera.review.queue import OWN_KINDS

Asked = TypeVar("Asked", bound=BaseModel)


class MissionAsked(Contract):
    """Input of ``mission``. With ``approve_plan`` the plan is put to a human first; ``dry_run`` stops after it."""

    mission: Mission
    approve_plan: bool = False
    dry_run: bool = False


class TeamAsked(MissionAsked):
    """Input of ``team``: a mission for this one team, without the orchestrator's division."""

    team: TeamBrief


class AgentAsked(Contract):
    """Input of ``agent``: a mission of this one task. ``task.tools`` is all that the agent may call."""

    mission: Mission
    task: Task

    @field_validator("task")
    @classmethod
    def _stands_alone(cls, task: Task) -> Task:
        if task.depends_on:
            raise ValueError("a task on its own cannot depend on others")
        return task


class ReviewAsked(Contract):
    """Input of ``review``: a question about a mission that exists. Its ids are UUIDs."""

    review_item: ReviewItem

    @field_validator("review_item")
    @classmethod
    def _has_uuids(cls, item: ReviewItem) -> ReviewItem:
        for name in ("id", "mission_id"):
            try:
                UUID(getattr(item, name) or "")
            except ValueError:
                raise ValueError(f"{name} is not a UUID") from None
        if kind_of(item) in OWN_KINDS:
            raise ValueError("payload.kind is one of Chimera's own questions")
        return item


def read_asked(form: type[Asked], given: Any) -> Asked:
    """The input of a run as its contract.

    Raises:
        GoalInvalid: the mission cannot be used. InputError: something else; the message names the field.
    """
    if isinstance(given, Mapping) and "mission" in form.model_fields:
        read_mission(given.get("mission"))
    try:
        return form.model_validate(given)
    except ValidationError as error:
        raise InputError(first_problem(error, "input")) from None
