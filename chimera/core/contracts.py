"""The values that cross a boundary: what a mission is, what a plan, a result, a decision and a verdict are.

Each model here is the typed twin of a JSON Schema in ``specs/technical.md``; a contract test keeps the two equal.
Graph channels hold ``model_dump(mode="json")`` of these, so that a checkpoint is plain data.
"""

import json
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from chimera.core.ids import digest
from chimera.core.money import Money

GOAL_MAX = 8_000
LIMIT_MAX = 20
"""Calls of one tool with an effect that a plan can give to one task."""
Confidence = Annotated[float, Field(ge=0.0, le=1.0)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]
CapabilityName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*__[A-Za-z0-9_.-]{1,64}$")]
FIND_TOOLS = "chimera__find_tools"
BUY, PAY = "chimera__buy", "chimera__pay"
SPENDING = (BUY, PAY)
"""The tool with which an agent looks for other tools, where there are more than can be shown."""


class Contract(BaseModel):
    """Base of every contract: immutable, and closed to unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def plain(self) -> dict[str, Any]:
        """The value as plain JSON data, as it is kept in graph state and in Postgres."""
        return self.model_dump(mode="json")


# --- what is asked -----------------------------------------------------------------------------------------------


class Budget(Contract):
    """The most that a mission may use. None means: the limit of the settings."""

    money: Money | None = None
    tokens: Annotated[int, Field(ge=0)] | None = None


class Mission(Contract):
    """A goal with its inputs, persona, constraints and budget."""

    goal: str = Field(min_length=1, max_length=GOAL_MAX, description="what is wanted, in plain words")
    inputs: dict[Name, str] = Field(default_factory=dict, description="named material: a file path, a URL or a value")
    persona: str = Field(default="", max_length=8_000)
    constraints: list[str] = Field(default_factory=list, max_length=50)
    budget: Budget = Budget()
    deadline_s: float = Field(default=900.0, gt=0, le=86_400, description="seconds from start to answer")
    tenant: Name = "default"

    @property
    def context_version(self) -> str:
        """Fingerprint of everything that a result depends on. A result made from another one is void."""
        basis = self.model_dump(mode="json", include={"goal", "inputs", "persona", "constraints", "budget"})
        return digest(json.dumps(basis, sort_keys=True))[:16]


# --- what is planned ---------------------------------------------------------------------------------------------


class Criterion(Contract):
    """One acceptance criterion. All kinds but ``text`` are checked without a model.

    ``nonempty``: there is an answer. ``cited``: every claim cites evidence that exists and holds its numbers.
    ``artifact``: an artifact was written (``value``: its name, or empty for any). ``contains``: the answer has
    ``value``. ``schema``: the answer is JSON that fits the schema in ``value``. ``text``: a sentence to judge.
    """

    kind: Literal["nonempty", "cited", "artifact", "contains", "schema", "text"]
    value: str = ""


class Task(Contract):
    """One atomic unit of a team's task graph."""

    id: str = Field(pattern=r"^t[0-9]{1,4}$")
    title: str = Field(min_length=1, max_length=200)
    instruction: str = Field(min_length=1, max_length=GOAL_MAX)
    depends_on: list[str] = Field(default_factory=list)
    tools: list[CapabilityName] = Field(default_factory=list, max_length=8, description="all that the task may call")
    limits: dict[str, Annotated[int, Field(ge=1, le=LIMIT_MAX)]] = Field(
        default_factory=dict, description="by tool with an effect, how often the task may call it; else once"
    )
    arguments: dict[str, dict[str, Any]] = Field(
        default_factory=dict,
        description="by tool, the arguments that the planner knows; null names one whose value the task finds",
    )
    criteria: list[Criterion] = Field(default_factory=lambda: [Criterion(kind="nonempty")], min_length=1)
    cost_tokens: int = Field(default=0, ge=0, description="estimate")
    confidence: Confidence = 0.5

    def limit(self, tool: str) -> int:
        """How often the task may call a tool of its own that has an effect."""
        return self.limits.get(tool, 1)


class Plan(Contract):
    """A directed acyclic graph of tasks. ``unmet`` names the parts of the goal that no task covers."""

    tasks: list[Task] = Field(default_factory=list[Task], max_length=200)
    unmet: list[str] = Field(default_factory=list)
    rationale: str = Field(default="", max_length=4_000)
    confidence: Confidence = 0.5

    @model_validator(mode="after")
    def _is_a_dag(self) -> "Plan":
        seen: set[str] = set()
        pending = {task.id: set(task.depends_on) for task in self.tasks}
        if len(pending) != len(self.tasks):
            raise ValueError("two tasks have the same id")
        while pending:
            ready = {name for name, needs in pending.items() if needs <= seen}
            if not ready:
                raise ValueError(f"tasks wait for each other or for unknown ones: {', '.join(sorted(pending))}")
            seen |= ready
            pending = {name: needs for name, needs in pending.items() if name not in ready}
        return self

    def before(self, task_id: str) -> list[str]:
        """The ids of all tasks that a task builds on, nearest first."""
        needs = {task.id: task.depends_on for task in self.tasks}
        found: list[str] = []
        waiting = list(needs[task_id])
        while waiting:
            name = waiting.pop(0)
            if name not in found:
                found.append(name)
                waiting += needs[name]
        return found


class TeamBrief(Contract):
    """What the orchestrator hands to one team."""

    name: Name
    goal: str = Field(min_length=1, max_length=GOAL_MAX)


class Split(Contract):
    """The orchestrator's division of a mission over teams."""

    teams: list[TeamBrief] = Field(min_length=1, max_length=100)


# --- what comes back ---------------------------------------------------------------------------------------------


class Evidence(Contract):
    """A piece of a tool result that a claim can cite by ``id``."""

    id: str = Field(min_length=1, max_length=120)
    text: str = Field(max_length=4_000)
    source: str = Field(description="where it comes from: feed, page, file")
    sha256: str = Field(default="", description="digest of the whole source as it was read")


class Usage(Contract):
    """What was used. Tokens as the model reported them; cost in the price list's asset."""

    calls: int = Field(default=0, ge=0)
    tokens_in: int = Field(default=0, ge=0)
    tokens_out: int = Field(default=0, ge=0)
    cost: Money = Money(units=0)

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(
            calls=self.calls + other.calls,
            tokens_in=self.tokens_in + other.tokens_in,
            tokens_out=self.tokens_out + other.tokens_out,
            cost=self.cost + other.cost,
        )


class Artifact(Contract):
    """A file that a mission made, in the artifact store."""

    name: Name
    media_type: str = "text/plain"
    size: int = Field(ge=0, description="bytes")
    sha256: str


class Threat(StrEnum):
    """How dangerous a guarded request looks."""

    NONE = "none"
    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"


class Observation(Contract):
    """What one tool call gave, as the guards let it through: for the judge, and for the labels of its values."""

    capability: CapabilityName
    arguments: dict[str, Any] = Field(default_factory=dict, description="those of the call, if they were small")
    text: str
    whole: bool = Field(default=True, description="whether nothing was cut off, neither text nor arguments")
    threat: Threat = Threat.NONE


class TaskResult(Contract):
    """What an agent made of one task."""

    task_id: str
    status: Literal["done", "failed"]
    answer: str = ""
    evidence: list[Evidence] = Field(default_factory=list[Evidence])
    artifacts: list[Artifact] = Field(default_factory=list[Artifact])
    error: dict[str, Any] | None = Field(default=None, description="code, message, remedy of the failure")
    context_version: str
    observations: list[Observation] = Field(default_factory=list[Observation], description="what the tools gave")
    provider: str = Field(default="", description="the model that did it; offline rules say so")
    tool_calls: int = Field(default=0, ge=0)


class MissionStatus(StrEnum):
    """Where a mission stands. The last five are final."""

    RUNNING = "running"
    WAITING = "waiting"
    DONE = "done"
    PARTIAL = "partial"
    FAILED = "failed"
    REJECTED = "rejected"
    CANCELLED = "cancelled"


class MissionResult(Contract):
    """The answer to a mission, with its cost, its trail and how far it can be trusted."""

    mission_id: str
    status: MissionStatus
    answer: str = ""
    artifacts: list[Artifact] = Field(default_factory=list[Artifact])
    evidence: list[Evidence] = Field(default_factory=list[Evidence])
    unmet: list[str] = Field(default_factory=list)
    reasons: list[str] = Field(default_factory=list)
    usage: Usage = Usage()
    confidence: Confidence = 0.0
    provider: str = ""
    trail: str = Field(default="", description="hash of the last audit event of the mission")


# --- who decides -------------------------------------------------------------------------------------------------


class Decision(Contract):
    """A guard's answer. True in a condition only when the request may go on (allow, or edit)."""

    action: Literal["allow", "edit", "escalate", "reject"]
    threat: Threat = Threat.NONE
    reasons: list[str] = Field(default_factory=list)
    rules: list[str] = Field(default_factory=list)
    payload: dict[str, Any] | None = Field(default=None, description="with edit: what goes on instead")

    def __bool__(self) -> bool:
        return self.action in ("allow", "edit")


class Check(Contract):
    """One criterion, and whether it holds."""

    criterion: str
    passed: bool
    why: str = ""


class Verdict(Contract):
    """The judge's answer on one task result."""

    outcome: Literal["approve", "retry", "escalate"]
    confidence: Confidence
    reasons: list[str] = Field(default_factory=list)
    checks: list[Check] = Field(default_factory=list[Check])


class ReviewPoint(StrEnum):
    """Where humans decide."""

    CONTENT = "content"
    FINANCE = "finance"
    POLICY = "policy"
    SECURITY = "security"
    QUALITY = "quality"


class ReviewItem(Contract):
    """One question to a human. ``mission_id``: None where Chimera asks about itself, a policy or an incident."""

    id: str
    mission_id: str | None
    point: ReviewPoint
    question: str = Field(max_length=2_000)
    payload: dict[str, Any]
    confidence: Confidence
    reasons: list[str] = Field(default_factory=list)


class ReviewDecision(Contract):
    """A human's answer. ``reviewer`` names the person, or the script that stood in for one."""

    action: Literal["approve", "reject", "edit"]
    reviewer: str = Field(min_length=1, max_length=200)
    reason: str = Field(default="", max_length=4_000)
    payload: dict[str, Any] | None = Field(default=None, description="with edit: what goes on instead")


class Event(Contract):
    """One line of live progress, as ``chimera run`` shows it and ``stream`` yields it."""

    mission_id: str
    kind: str
    at: str
    data: dict[str, Any] = Field(default_factory=dict)
