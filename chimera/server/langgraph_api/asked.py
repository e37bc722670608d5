"""What clients of the LangGraph server send, as far as it is carried; what is not carried is refused, not ignored."""

from typing import Any, Literal, TypeVar

from pydantic import BaseModel, Field, ValidationError, field_validator
from starlette.requests import Request

from chimera.core.contracts import Contract
from chimera.core.errors import InputError
from chimera.core.invalid import first_problem

Format = Literal["human_interrupt", "hitl"]
FORMAT = "interrupt_format"
"""What names a format, in metadata and in a query."""
PAGE_MAX, PLACES_MAX = 100, 2_000
MODES = ("values", "updates", "events")
Asked = TypeVar("Asked", bound=BaseModel)


class ThreadAsked(Contract):
    """A thread to be made. Nothing is kept of it before its first run."""

    thread_id: str | None = None
    metadata: dict[str, Any] | None = None
    if_exists: Literal["raise", "do_nothing"] | None = None


class SearchAsked(Contract):
    """Which threads. ``metadata`` names the graph, and the format of what they ask."""

    metadata: dict[str, Any] | None = None
    ids: list[str] | None = Field(default=None, max_length=PAGE_MAX)
    status: Literal["idle", "busy", "interrupted", "error"] | None = None
    limit: int = Field(default=10, ge=0, le=1_000)
    offset: int = Field(default=0, ge=0)
    sort_by: Literal["created_at", "updated_at", "state_updated_at"] | None = None
    sort_order: Literal["asc", "desc"] | None = None


class HistoryAsked(Contract):
    """Which states of a thread. Only the present one is shown, so that what is asked of the past has no answer."""

    limit: int = Field(default=10, ge=1)
    before: Any = None
    metadata: dict[str, Any] | None = None
    checkpoint: dict[str, Any] | None = None


class AssistantsAsked(Contract):
    """Which assistants."""

    graph_id: str | None = None
    name: str | None = None
    metadata: dict[str, Any] | None = None
    limit: int = Field(default=10, ge=0)
    offset: int = Field(default=0, ge=0)
    sort_by: str | None = None
    sort_order: str | None = None
    select: list[str] | None = None


class CommandAsked(Contract):
    """What resumes. Only answers do: no state can be written, and no node jumped to."""

    resume: Any = None
    graph: None = None
    update: None = None
    goto: list[Any] | None = Field(default=None, max_length=0)


class RunAsked(Contract):
    """A run: of a mission by its ``input``, or an answer by ``command``. A mission goes on when its client leaves."""

    assistant_id: str
    input: Any = None
    command: CommandAsked | None = None
    checkpoint: dict[str, Any] | None = None
    checkpoint_id: str | None = None
    stream_mode: list[str] = Field(default_factory=lambda: ["values"])
    on_disconnect: Literal["continue"] | None = None
    on_completion: Literal["keep"] | None = None
    multitask_strategy: Literal["reject", "enqueue"] | None = None
    config: Any = None
    metadata: Any = None
    stream_subgraphs: Any = None
    stream_resumable: Any = None
    if_not_exists: Any = None
    durability: Any = None
    strict_resume: Any = None
    langsmith_tracer: Any = None

    @field_validator("stream_mode", mode="before")
    @classmethod
    def _is_a_list(cls, given: object) -> object:
        return [given] if isinstance(given, str) else given

    @field_validator("stream_mode")
    @classmethod
    def _is_carried(cls, given: list[str]) -> list[str]:
        strange = set(given) - set(MODES)
        if strange:
            raise ValueError(f"this server streams {', '.join(MODES)}")
        return given

    @property
    def version(self) -> int | None:
        """Which version of a question the answer is about: the checkpoint that was shown."""
        named: object = self.checkpoint_id or (self.checkpoint or {}).get("checkpoint_id")
        return (
            int(named) if isinstance(named, str) and named.isascii() and named.isdigit() and len(named) < 10 else None
        )


async def read(request: Request, form: type[Asked]) -> Asked:
    """The body of a request.

    Raises:
        InputError: it is no JSON, or asks for something that is not carried.
    """
    try:
        body: object = await request.json()
    except (ValueError, RecursionError):
        raise InputError("the body is no JSON, or nested too deeply") from None
    try:
        return form.model_validate(body)
    except ValidationError as error:
        raise InputError(first_problem(error, "body"), remedy="docs/inbox.md says what is carried.") from None


def format_of(named: object, otherwise: Format) -> Format:
    """The format that metadata or a query names.

    Raises:
        InputError: there is none of that name.
    """
    match named:
        case None:
            return otherwise
        case "human_interrupt":
            return "human_interrupt"
        case "hitl":
            return "hitl"
        case _:
            raise InputError(f"{FORMAT} is human_interrupt or hitl")
