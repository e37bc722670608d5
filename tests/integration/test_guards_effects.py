"""What is done is done once, and only what was approved. Proves TR-36: the journal comes before the call.

The journal is the real one in Postgres; the port of tools is one that counts, and fails in every way that tools fail.
"""

import asyncio
import uuid
from collections.abc import AsyncGenerator, Callable
from typing import Any

import pytest

from chimera.core.contracts import Decision, Mission
from chimera.core.errors import (
    ChimeraError,
    ConflictError,
    GuardRejected,
    ToolFailed,
    ToolRefused,
    ToolResultTooLarge,
    ToolServerDown,
    ToolTimeout,
    ToolUnknown,
)
from chimera.core.seats import Seats
from chimera.guards.effects import ApprovedCall, Effects
from chimera.store.effects import EffectJournal
from chimera.store.missions import MissionStore
from chimera.store.postgres import Pool, fetch, open_pool
from chimera.tools.capability import NOBODY, Capability, Requester, ToolResult

ARGUMENTS = {"text": "hello"}


class Port:
    """Tools of the test: remembers every call, and ends it as ``ending`` says."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, dict[str, Any], str, str]] = []
        self.ending: BaseException | None = None
        self.entered = asyncio.Event()
        self.hang = False

    async def capabilities(self) -> list[Capability]:
        return []

    async def call(
        self,
        name: str,
        arguments: dict[str, Any],
        *,
        scope: str,
        idempotency_key: str,
        deadline_s: float | None = None,
        requester: Requester = NOBODY,
    ) -> ToolResult:
        self.calls.append((name, arguments, scope, idempotency_key))
        self.entered.set()
        if self.hang:
            await asyncio.Event().wait()
        if self.ending is not None:
            raise self.ending
        return ToolResult(text=f"call {len(self.calls)}")


@pytest.fixture
async def pool(shared_database_url: str) -> AsyncGenerator[Pool]:
    async with open_pool(shared_database_url, 4) as opened:
        yield opened


@pytest.fixture
def port() -> Port:
    return Port()


@pytest.fixture
def effects(port: Port, pool: Pool) -> Effects:
    return Effects(port, EffectJournal(pool))


@pytest.fixture
async def mission_id(pool: Pool, shared_database_url: str) -> str:
    mission_id = str(uuid.uuid4())
    await MissionStore(pool, shared_database_url).create(mission_id, Mission(goal="g"))
    return mission_id


def approved(mission_id: str, *, action: Any = "allow", key: str = "", **hints: Any) -> ApprovedCall:
    tool = Capability(name="shop__buy", server="shop", tool="buy", input_schema={}, **hints)
    return ApprovedCall(
        mission_id=mission_id,
        capability=tool,
        arguments=ARGUMENTS,
        key=key or str(uuid.uuid4()),
        decision=Decision(action=action),
        sealed=ApprovedCall.seal(tool.name, ARGUMENTS),
    )


def changed(call: ApprovedCall, **changes: Any) -> ApprovedCall:
    return ApprovedCall(**{**vars(call), **changes})


async def states(pool: Pool, mission_id: str) -> list[str]:
    return [row["state"] for row in await fetch(pool, "SELECT state FROM effects WHERE mission_id = %s", (mission_id,))]


# --- only what was approved ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("action", ["allow", "edit"])
async def test_an_approved_call_is_made_as_it_was_approved(
    action: str, effects: Effects, port: Port, mission_id: str
) -> None:
    call = approved(mission_id, action=action)
    assert (await effects.perform(call)).text == "call 1"
    assert port.calls == [("shop__buy", ARGUMENTS, mission_id, call.key)]


@pytest.mark.parametrize("action", ["reject", "escalate"])
@pytest.mark.parametrize("read_only", [True, False])
async def test_a_call_that_was_not_approved_is_refused(
    action: str, read_only: bool, effects: Effects, port: Port, pool: Pool, mission_id: str
) -> None:
    with pytest.raises(GuardRejected):
        await effects.perform(approved(mission_id, action=action, read_only=read_only))
    assert port.calls == []
    assert await states(pool, mission_id) == []


@pytest.mark.parametrize(
    "changes",
    [
        {"arguments": {"text": "hello", "amount": 100}},
        {"arguments": {}},
        {"arguments": {"text": "Hello"}},
        {"capability": Capability(name="shop__sell", server="shop", tool="sell", input_schema={}, read_only=True)},
        {"sealed": ""},
    ],
    ids=str,
)
async def test_an_approval_is_for_one_call_and_no_other(
    changes: dict[str, Any], effects: Effects, port: Port, mission_id: str
) -> None:
    with pytest.raises(GuardRejected, match="not approved with these arguments"):
        await effects.perform(changed(approved(mission_id), **changes))
    assert port.calls == []


# --- once ------------------------------------------------------------------------------------------------------------


async def test_the_same_key_gets_the_recorded_result(effects: Effects, port: Port, pool: Pool, mission_id: str) -> None:
    call = approved(mission_id)
    first = await effects.perform(call)
    assert await Effects(port, EffectJournal(pool)).perform(call) == first
    assert len(port.calls) == 1
    assert await states(pool, mission_id) == ["done"]


async def test_the_effect_is_on_record_before_it_is_made(
    effects: Effects, port: Port, pool: Pool, mission_id: str
) -> None:
    port.hang = True
    running = asyncio.ensure_future(effects.perform(approved(mission_id)))
    await port.entered.wait()
    assert await states(pool, mission_id) == ["begun"]
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_a_tool_that_only_reads_is_asked_again(effects: Effects, port: Port, pool: Pool, mission_id: str) -> None:
    call = approved(mission_id, read_only=True)
    assert [(await effects.perform(call)).text, (await effects.perform(call)).text] == ["call 1", "call 2"]
    assert await states(pool, mission_id) == []


async def test_a_key_that_stands_for_another_call_is_refused(effects: Effects, port: Port, mission_id: str) -> None:
    call = approved(mission_id)
    await effects.perform(call)
    other = {"text": "another"}
    with pytest.raises(ConflictError) as refused:
        await effects.perform(changed(call, arguments=other, sealed=ApprovedCall.seal("shop__buy", other)))
    assert refused.value.code == "CH702"
    assert len(port.calls) == 1


async def test_two_at_once_do_it_once(effects: Effects, port: Port, pool: Pool, mission_id: str) -> None:
    port.hang = True
    call = approved(mission_id)
    first = asyncio.ensure_future(effects.perform(call))
    await port.entered.wait()
    with pytest.raises(ToolServerDown):
        await Effects(port, EffectJournal(pool)).perform(call)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    assert len(port.calls) == 1


# --- after a failure -------------------------------------------------------------------------------------------------

Failure = Callable[[], ChimeraError]


def not_done(kind: type[ToolFailed]) -> Failure:
    return lambda: kind("failed", outcome="not done")


def unknown(kind: type[ToolFailed]) -> Failure:
    return lambda: kind("failed", outcome="unknown")


CERTAINLY_NOT: dict[str, Failure] = {
    "refused": lambda: ToolRefused("no"),
    "no such tool": lambda: ToolUnknown("none"),
    "down before it was sent": not_done(ToolServerDown),
    "late before it was sent": not_done(ToolTimeout),
}
PERHAPS: dict[str, Failure] = {
    "down after it was sent": unknown(ToolServerDown),
    "late after it was sent": unknown(ToolTimeout),
    "an answer that is too large": lambda: ToolResultTooLarge("large"),
    "an answer that is none": lambda: ToolFailed("garbage"),
}


@pytest.mark.parametrize("how", CERTAINLY_NOT)
async def test_what_certainly_did_not_happen_may_be_done_again(
    how: str, effects: Effects, port: Port, pool: Pool, mission_id: str
) -> None:
    call = approved(mission_id)
    port.ending = CERTAINLY_NOT[how]()
    with pytest.raises(ToolFailed):
        await effects.perform(call)
    assert await states(pool, mission_id) == ["failed"]
    port.ending = None
    first = await effects.perform(call)
    assert await effects.perform(call) == first, "and once it happened, it is not done again"
    assert len(port.calls) == 2


@pytest.mark.parametrize("how", PERHAPS)
async def test_what_may_have_happened_is_not_done_again(
    how: str, effects: Effects, port: Port, pool: Pool, mission_id: str
) -> None:
    """A server that answered with too much has done it; one that went silent may have."""
    call = approved(mission_id)
    port.ending = PERHAPS[how]()
    with pytest.raises(ToolFailed):
        await effects.perform(call)
    port.ending = None
    with pytest.raises(ToolServerDown, match="outcome is unknown") as refused:
        await effects.perform(call)
    assert refused.value.context["outcome"] == "unknown"
    assert len(port.calls) == 1
    assert await states(pool, mission_id) == ["begun"]


@pytest.mark.parametrize("how", PERHAPS)
async def test_a_tool_that_may_be_called_twice_is_called_again(
    how: str, effects: Effects, port: Port, mission_id: str
) -> None:
    call = approved(mission_id, idempotent=True)
    port.ending = PERHAPS[how]()
    with pytest.raises(ToolFailed):
        await effects.perform(call)
    port.ending = None
    assert (await effects.perform(call)).text == "call 2"


@pytest.mark.parametrize(("idempotent", "calls"), [(False, 1), (True, 2)])
async def test_a_call_that_was_cut_off_is_repeated_only_if_the_tool_allows_it(
    idempotent: bool, calls: int, effects: Effects, port: Port, mission_id: str
) -> None:
    call = approved(mission_id, idempotent=idempotent)
    port.hang = True
    running = asyncio.ensure_future(effects.perform(call))
    await port.entered.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    port.hang = False
    if idempotent:
        await effects.perform(call)
    else:
        with pytest.raises(ToolServerDown):
            await effects.perform(call)
    assert len(port.calls) == calls


async def test_a_failure_that_nobody_foresaw_counts_as_unknown(
    effects: Effects, port: Port, pool: Pool, mission_id: str
) -> None:
    call = approved(mission_id)
    port.ending = RuntimeError("broken")
    with pytest.raises(RuntimeError):
        await effects.perform(call)
    assert await states(pool, mission_id) == ["begun"]


async def test_who_waits_for_a_tool_leaves_the_seat_to_others(pool: Pool, mission_id: str) -> None:
    """Proves FR-369: both calls are out at once, although one seat is all there is."""
    seats, both = Seats(1), asyncio.Barrier(2)

    class Meeting(Port):
        """A tool that answers when it was called twice."""

        async def call(self, *args: Any, **kwargs: Any) -> ToolResult:
            await both.wait()
            return await super().call(*args, **kwargs)

    effects = Effects(Meeting(), EffectJournal(pool))

    async def work(key: str) -> None:
        async with seats.taken():
            await effects.perform(approved(mission_id, key=key, read_only=True))

    async with asyncio.timeout(40), asyncio.TaskGroup() as group:
        group.create_task(work("one"))
        group.create_task(work("two"))
