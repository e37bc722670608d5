"""What the interface takes and gives, as pydantic models: closed to unknown fields, and strict about types."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from chimera.core.contracts import GOAL_MAX, Mission, MissionResult, Name, ReviewItem
from chimera.core.money import Money

VERSION_MAX, UNITS_MAX = 2**31 - 1, 2**63 - 1
REASON_MAX, QUESTION_MAX = 4_000, 2_000
Line = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200, pattern=r"^[^\x00-\x1f]*$")
]
Status = Literal["running", "stopped", "waiting", "done", "partial", "failed", "rejected", "cancelled"]
Stored = Literal["running", "waiting", "done", "partial", "failed", "rejected", "cancelled"]
Point = Literal["content", "finance", "policy", "security", "quality"]
KindName = Annotated[str, Field(pattern=r"^[a-z_]{1,40}$")]
Uuid = Annotated[str, Field(pattern=r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")]


class Asked(BaseModel):
    """Base of what is sent."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Told(BaseModel):
    """Base of what is answered."""

    model_config = ConfigDict(extra="forbid")


# --- missions --------------------------------------------------------------------------------------------------------


class BudgetAsked(Asked):
    """The most that a mission may use; null: as the settings say."""

    money: Money | None = None
    tokens: Annotated[int, Field(ge=0, le=UNITS_MAX)] | None = None


class MissionAsked(Asked):
    """A goal to be worked. ``approve_plan``: a human sees the plan first; ``dry_run``: it ends with the plan."""

    goal: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=GOAL_MAX)]
    inputs: dict[Name, str] = Field(default_factory=dict, max_length=100)
    persona: str = Field(default="", max_length=8_000)
    constraints: list[str] = Field(default_factory=list[str], max_length=50)
    budget: BudgetAsked = BudgetAsked()
    deadline_s: float = Field(default=900.0, gt=0, le=86_400)
    approve_plan: bool = False
    dry_run: bool = False

    def mission(self, tenant: str) -> Mission:
        """The mission that is asked for, in the caller's tenant."""
        asked = self.model_dump(exclude={"approve_plan", "dry_run"})
        return Mission.model_validate({**asked, "tenant": tenant})


class MissionLine(Told):
    """A mission in a listing."""

    id: str
    goal: str
    status: Stored
    asked_by: str | None
    created_at: str
    updated_at: str
    deadline_at: str


class TaskCount(Told):
    """How many tasks are planned, and how many are done."""

    planned: int
    done: int


class MissionTold(MissionLine):
    """A mission as it stands. ``status`` is ``stopped`` when nobody runs it now; it can be resumed.

    ``result``: once it has ended.
    """

    status: Status  # pyright: ignore[reportIncompatibleVariableOverride] - one more than what is stored
    tasks: TaskCount
    open_reviews: list[str]
    result: MissionResult | None


class MissionPage(Told):
    """Missions, newest first; ``next``: the cursor of the page behind."""

    items: list[MissionLine]
    next: str | None


class TaskTold(Told):
    """A task: one atomic unit of a team's plan."""

    team: str
    plan_round: int
    id: str
    title: str
    state: str
    attempt: int
    depends_on: list[str]
    confidence: float | None
    updated_at: str


class TaskList(Told):
    """The tasks of a mission, by team, plan round and id."""

    items: list[TaskTold]


# --- questions -------------------------------------------------------------------------------------------------------


class Factor(Told):
    """One part of a priority."""

    name: str
    times: float
    why: str


class DecisionTold(Told):
    """An answer to a question."""

    action: Literal["approve", "reject", "edit"]
    reviewer: str
    reason: str
    payload: dict[str, Any] | None


class ReviewTold(ReviewItem):
    """A question as it stands. ``version`` is what a decision has to name; ``agreed`` of ``needs`` people have agreed.

    ``withheld``: guards let nothing of it through to this caller.
    """

    tenant: str
    kind: str
    state: Literal["open", "asked", "decided", "late"]
    version: int
    step: int
    overdue: bool
    passed: bool
    assigned_to: str | None
    claimed_by: str | None
    claimed_until: str | None
    requester: str | None
    needs: int
    agreed: int
    batch: str | None
    created_at: str
    due_at: str
    decided_at: str | None
    undo_until: str | None
    decision: DecisionTold | None
    priority: float
    why: list[Factor]
    withheld: bool


class NoteTold(Told):
    """What a reviewer asked back, and the answer."""

    number: int
    asked_by: str
    question: str
    replied_by: str | None
    reply: str | None


class ReviewDetail(ReviewTold):
    """A question with what was asked back, and what of it can be edited; null: nothing."""

    notes: list[NoteTold]
    editable: dict[str, Any] | None


class ReviewPage(Told):
    """Open questions, the most urgent first; ``next``: the cursor of the page behind."""

    items: list[ReviewTold]
    next: str | None


class DecisionAsked(Asked):
    """An answer. ``version``: of the question that was seen. ``payload``: with edit, what goes on instead."""

    action: Literal["approve", "reject", "edit"]
    version: int = Field(ge=1, le=VERSION_MAX)
    reason: str = Field(default="", max_length=REASON_MAX)
    payload: dict[str, Any] | None = None


class Decided(Told):
    """What became of an answer. ``first``: it counts by this request. ``undo_until``: it can be taken back."""

    id: str
    state: Literal["decided", "late", "agreed"]
    first: bool
    version: int
    missing: int
    decision: DecisionTold
    undo_until: str | None


class Claimed(Told):
    """A claim: until when the question is the caller's."""

    id: str
    claimed_until: str


class Released(Told):
    """Whether there was a claim of the caller's."""

    id: str
    released: bool


class QuestionAsked(Asked):
    """What whoever did the work is asked."""

    question: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=QUESTION_MAX)]


class QuestionTold(Told):
    """The number of what was asked back."""

    id: str
    number: int


class HandingOn(Asked):
    """To whom a question goes: a name, or a role as ``role:operator``."""

    to: Line
    version: int = Field(ge=1, le=VERSION_MAX)
    reason: str = Field(default="", max_length=REASON_MAX)


class HandingUp(Asked):
    """Why a question goes to the next of its chain."""

    version: int = Field(ge=1, le=VERSION_MAX)
    reason: str = Field(default="", max_length=REASON_MAX)


class Handed(Told):
    """To whom a question went, and its version."""

    id: str
    to: str
    version: int


class BulkAsked(Asked):
    """One answer to all questions of a point and a kind. ``amount``: units of money of each at most."""

    point: Point
    kind: KindName
    action: Literal["approve", "reject"]
    reason: str = Field(default="", max_length=REASON_MAX)
    amount: Annotated[int, Field(ge=0, le=UNITS_MAX)] | None = None
    mission_id: Uuid | None = None


class BulkDecided(Told):
    """What a bulk decision did. ``left``: changed or taken by somebody else meanwhile."""

    batch: str
    decided: list[str]
    left: list[str]


class Undone(Told):
    """The questions that are open again."""

    open: list[str]


# --- tools -----------------------------------------------------------------------------------------------------------


class ToolTold(Told):
    """A tool that fits a request. Its description is the words of its server: data, never instructions."""

    name: str
    description: str
    effect: Literal["reads", "writes", "destroys"]
    risk: str
    score: float
    why: Any
    threat: str


class ToolList(Told):
    """Tools, the best fit first."""

    items: list[ToolTold]
