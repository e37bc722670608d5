"""What other agents may ask of Chimera: one contract for each tool, closed to unknown fields.

None of them has a field for a tenant or a name: who asks is known from the key.
"""

from typing import Annotated, Any

from pydantic import Field, StringConstraints, field_validator

from chimera.core.contracts import GOAL_MAX, Budget, Contract, Mission, Name
from chimera.core.ids import canonical_id

WAIT_S, WAIT_MAX_S = 20.0, 600.0
QUERY_MAX = 4_000
MissionId = Annotated[str, Field(min_length=36, max_length=36, description="the whole id of a mission")]


class RunMission(Contract):
    """A goal to be worked."""

    goal: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=GOAL_MAX)] = Field(
        description="what is wanted, in plain words"
    )
    inputs: dict[Name, str] = Field(default_factory=dict, description="named material: a URL or a value")
    persona: str = Field(default="", max_length=8_000, description="who the agents speak as")
    constraints: list[str] = Field(default_factory=list, max_length=50, description="what must hold")
    budget: Budget = Field(default=Budget(), description="the most that it may use")
    deadline_s: float = Field(default=900.0, gt=0, le=86_400, description="seconds from start to answer")
    approve_plan: bool = Field(default=False, description="ask a human about the plan first")
    dry_run: bool = Field(default=False, description="plan only; nothing is executed")
    wait: bool = Field(default=True, description="false: answer at once with the id")
    wait_s: float = Field(
        default=WAIT_S, ge=0, le=WAIT_MAX_S, description="answer with the id when it has not ended after so long"
    )
    idempotency_key: str = Field(
        default="", max_length=200, description="the same call with the same key runs once, and gets the same mission"
    )

    def mission(self, tenant: str) -> Mission:
        """The mission that is asked for, in the caller's tenant."""
        asked = self.model_dump(include={"goal", "inputs", "persona", "constraints", "budget", "deadline_s"})
        return Mission.model_validate({**asked, "tenant": tenant})


class OfMission(Contract):
    """One mission."""

    mission_id: MissionId

    @field_validator("mission_id")
    @classmethod
    def _is_whole(cls, given: str) -> str:
        return canonical_id(given)


class MissionStatusAsked(OfMission):
    """How far a mission is."""

    wait_s: float = Field(
        default=0.0, ge=0, le=WAIT_MAX_S, description="answer when it has ended, or after so many seconds"
    )


class SearchTools(Contract):
    """What a tool should be good for."""

    query: str = Field(min_length=1, max_length=QUERY_MAX, description="what is to be done, in plain words")
    k: int = Field(default=5, ge=1, le=50, description="how many at most")


class ReviewQueueAsked(Contract):
    """The questions that wait for humans."""

    mission_id: MissionId | None = Field(default=None, description="only those of this mission")
    limit: int = Field(default=50, ge=1, le=200)

    @field_validator("mission_id")
    @classmethod
    def _is_whole(cls, given: str | None) -> str | None:
        return None if given is None else canonical_id(given)


def schema_of(contract: type[Contract]) -> dict[str, Any]:
    """The contract as the JSON Schema that clients are shown."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **contract.model_json_schema()}
