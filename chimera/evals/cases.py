"""The golden cases: what is asked, what a misbehaving model does, what must and must not come of it."""

import json
import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, model_validator

from chimera.core.contracts import GOAL_MAX, Contract, MissionStatus, Name
from chimera.core.errors import SpecError
from chimera.core.ids import digest
from chimera.core.invalid import first_problem

GOLDEN = Path(__file__).parent / "golden"
MISSIONS = GOLDEN / "missions.jsonl"
FOLDERS = ("feeds", "bait")
KINDS = ("plain", "ambiguous", "impossible", "malicious", "over_budget")
_NAMED = re.compile(r"@((?:feeds|bait)/[A-Za-z0-9_.-]*[A-Za-z0-9])")

Kind = Literal["plain", "ambiguous", "impossible", "malicious", "over_budget"]
Role = Literal["orchestrator", "planner", "worker", "judge"]


class When(Contract):
    """Which questions an answer is for; what is left out does not matter."""

    point: str | None = None
    kind: str | None = Field(default=None, description="kind of the question's payload: plan, result, give_up")
    capability: str | None = Field(default=None, description="the tool that asks to be called")


class Answer(Contract):
    """What the scripted reviewer answers to the questions that ``when`` describes."""

    when: When = When()
    action: Literal["approve", "reject", "edit"]
    reason: str = ""
    payload: dict[str, Any] | None = None


class Options(Contract):
    """How a mission is run. ``answer_late``: nobody answers at first; the mission is resumed with the answers later."""

    approve_plan: bool = False
    dry_run: bool = False
    tokens: int | None = Field(default=None, ge=0)
    money: str | None = Field(default=None, description="such as 0.02 USD")
    deadline_s: float = Field(default=45.0, gt=0, le=600)
    persona: str = ""
    constraints: list[str] = Field(default_factory=list)
    reviewer: list[Answer] = Field(default_factory=list[Answer])
    answer_late: bool = False


class Call(Contract):
    """One tool call of a scripted message."""

    name: str
    args: dict[str, Any] = Field(default_factory=dict)


class Obey(Contract):
    """Do what a tool result says: call ``tool`` with what the first group of ``pattern`` finds in it."""

    pattern: str
    tool: str
    argument: str


class Line(Contract):
    """One line of a scripted model: exactly one of these, the last line of a script is repeated."""

    say: str | None = None
    call: list[Call] | None = None
    obey: Obey | None = None
    fail: str | None = None
    wait_s: float | None = Field(default=None, gt=0, le=30)
    tokens: int = Field(default=0, ge=0, description="tokens that the message claims to have used")

    @model_validator(mode="after")
    def _is_one_thing(self) -> "Line":
        given = [name for name in ("say", "call", "obey", "fail", "wait_s") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"a line is one of say, call, obey, fail and wait_s, not {given or 'none'}")
        return self


class Tools(Contract):
    """The calls that were made, against the ones that were expected.

    ``strict``: these in this order. ``unordered``: these in any order. ``subset``: no others. ``superset``: at least
    these.
    """

    mode: Literal["strict", "unordered", "subset", "superset"]
    calls: list[str]


class Ruling(Contract):
    """A decision that a guard has to have made."""

    rule: str
    action: Literal["allow", "edit", "escalate", "reject"]


class Expect(Contract):
    """What must hold at the end. What is left out is not checked, except where a metric says so."""

    status: list[MissionStatus] = Field(min_length=1)
    status_offline: list[MissionStatus] = Field(
        default_factory=list[MissionStatus],
        description="honest endings that are accepted from the offline rules as well",
    )
    error: str | None = Field(default=None, pattern=r"^CH\d{3}$", description="code that the reasons have to name")
    artifacts: Literal["some", "none"] | list[str] | None = None
    contains: list[str] = Field(
        default_factory=list, description="in the answer, an artifact, a reason or an unmet part"
    )
    if_done: list[str] = Field(default_factory=list, description="the same, when the mission says that it is done")
    lacks: list[str] = Field(
        default_factory=list, description="neither in the answer, nor an artifact, nor the evidence"
    )
    cited: bool = Field(default=True, description="every claim has to cite; an effect has nothing to cite")
    tools: Tools | None = None
    forbidden: list[str] = Field(default_factory=list, description="tools that must not have been called")
    max_tool_calls: int = Field(default=12, ge=0)
    max_tokens: int = Field(default=200_000, ge=0)
    guard: list[Ruling] = Field(default_factory=list[Ruling])
    reviews: list[Annotated[str, Field(pattern=r"^[a-z]+:(approve|reject|edit|open)$")]] | None = Field(
        default=None, description="the blocking questions as POINT:ANSWER, in order"
    )
    waited: bool = Field(default=False, description="the mission has to wait for a human first")
    notices: int | None = Field(default=None, ge=0, description="notices that really left the evaluation's desk server")


class Case(Contract):
    """One golden mission."""

    id: str = Field(pattern=r"^[a-z0-9-]{3,60}$")
    kind: Kind
    goal: str = Field(min_length=1, max_length=GOAL_MAX)
    quick: bool = Field(default=False, description="part of the quick run")
    inputs: dict[Name, str] = Field(default_factory=dict)
    options: Options = Options()
    script: dict[Role, Annotated[list[Line], Field(min_length=1)]] = Field(default_factory=dict)
    expect: Expect
    why: str = ""

    @property
    def feeds(self) -> list[str]:
        """The golden files that the case names, such as ``feeds/loans.csv``."""
        return sorted(set(_NAMED.findall(self.model_dump_json())))

    def digest(self, golden: Path = GOLDEN) -> str:
        """Fingerprint of the case and of the files that it reads: another digest is another case."""
        files = [golden / name for name in self.feeds]
        contents = [digest(path.read_bytes()) if path.is_file() else "absent" for path in files]
        return digest(json.dumps([self.plain(), contents], sort_keys=True))[:16]

    def placed(self, folder: Path) -> "Case":
        """The case with every ``@feeds/NAME`` and ``@bait/NAME`` replaced by a path under ``folder``."""
        return Case.model_validate(_placed(self.plain(), folder))


def load_cases(path: Path = MISSIONS) -> list[Case]:
    """All cases, in the order of the file.

    Raises:
        SpecError: a line is no case, or an id occurs twice; the message names the line.
    """
    cases: list[Case] = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            cases.append(Case.model_validate_json(line))
        except ValidationError as error:
            raise SpecError(f"{path.name} line {number}: {first_problem(error)}") from None
    ids = [case.id for case in cases]
    twice = next((name for name in ids if ids.count(name) > 1), None)
    if twice:
        raise SpecError(f"{path.name}: two cases have the id {twice}")
    return cases


def dataset_digest(cases: list[Case], golden: Path = GOLDEN) -> str:
    """SHA-256 over all cases and the files that they read."""
    return digest("".join(f"{case.id} {case.digest(golden)}\n" for case in cases))


def place_text(text: str, folder: Path) -> str:
    """``text`` with every ``@feeds/NAME`` and ``@bait/NAME`` replaced by a path under ``folder``."""
    return _NAMED.sub(lambda found: str(folder / found[1]), text)


def _placed(value: Any, folder: Path) -> Any:
    match value:
        case str():
            return place_text(value, folder)
        case dict():
            return {key: _placed(item, folder) for key, item in value.items()}
        case list():
            return [_placed(item, folder) for item in value]
        case _:
            return value
