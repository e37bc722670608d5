"""What happens, as server-sent events for programs: taken from the record, so that nothing is missed or told twice.

The id of an event is its number on the record of the tenant. Whoever comes back says the last one it had
(``Last-Event-ID``, as browsers and libraries do by themselves) and hears all that came after it. Nothing is kept for a
client: one that reads slowly is told later, and takes no memory here.
"""

import asyncio
import json
from collections.abc import AsyncGenerator
from typing import Annotated, Any

from fastapi import APIRouter, Header
from fastapi.responses import StreamingResponse

from chimera.core.errors import ChimeraError, InputError
from chimera.guards.permissions.values import Entity, Uid
from chimera.guards.settling import ALIKE
from chimera.server.api.office import Here, Office, Who
from chimera.server.api.problems import responses
from chimera.server.callers import Caller
from chimera.store.audit.kinds import Category, kind_of
from chimera.store.postgres import fetch, fetch_one

TOLD = frozenset({Category.MISSION, Category.REVIEW, Category.INCIDENT, Category.MONEY})
LOOK_S, BEAT_S, STREAM_MAX_S = 0.5, 15.0, 300.0
"""Seconds between looks, until a sign of life, and of a stream: a key that was revoked hears nothing after it."""
_PAGE, _SEQ_MAX = 200, 2**63 - 1
_NEW = "SELECT seq, kind, body FROM audit_events WHERE tenant = %s AND seq > %s ORDER BY seq LIMIT %s"
router = APIRouter(tags=["events"])
_STREAM: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "events: `id` is the number on the record, `event` the kind",
        "content": {"text/event-stream": {}},
    }
}


@router.get("/events", response_class=StreamingResponse, responses={**responses(), **_STREAM})
async def stream_events(
    office: Here,
    caller: Who,
    last: Annotated[
        str | None, Header(alias="Last-Event-ID", pattern=r"^[0-9]{1,18}$", description="go on after this event")
    ] = None,
) -> StreamingResponse:
    """Missions, questions, incidents and money of the tenant as they happen, from now on or after an event.

    An event has ids and no text of an agent: whoever wants more asks for the mission or the question. The stream ends
    after some minutes; come back with the id of the last event.
    """
    await _may_hear(office, caller)
    head = await fetch_one(office.app.pool, "SELECT seq FROM audit_heads WHERE tenant = %s", (caller.tenant,))
    newest = int(head["seq"]) if head else 0
    after = newest if last is None else int(last)
    if after > newest:
        raise InputError("there is no event of that number yet", remedy="Begin without Last-Event-ID.")
    return StreamingResponse(_events(office, caller, after), media_type="text/event-stream")


async def _may_hear(office: Office, caller: Caller) -> None:
    """Let whoever may see every mission of the tenant hear what happens in it."""
    every = Entity(Uid("Mission", ALIKE), {"tenant": caller.tenant})
    await office.desk.may(caller, "mission.read", every)


async def _events(office: Office, caller: Caller, after: int) -> AsyncGenerator[str]:
    now = asyncio.get_running_loop().time
    ends, beat = now() + STREAM_MAX_S, now() + BEAT_S
    yield f"retry: 1000\nid: {after}\n\n"
    try:
        while now() < ends and not office.keeper.closing.is_set():
            rows = await fetch(office.app.pool, _NEW, (caller.tenant, after, _PAGE))
            told = [_told(row) for row in rows if kind_of(row["kind"]).category in TOLD]
            after = int(rows[-1]["seq"]) if rows else after
            if told:
                yield "".join(told)
            elif now() >= beat:
                await _may_hear(office, caller)
                yield f": nothing new\nid: {after}\n\n"
            if told or now() >= beat:
                beat = now() + BEAT_S
            if len(rows) < _PAGE:
                await asyncio.sleep(LOOK_S)
    except ChimeraError as error:  # the last event says why; the client comes back, and is told again where it stood
        yield f"event: error\ndata: {json.dumps({'code': error.code, 'detail': error.message})}\n\n"


def _told(row: dict[str, Any]) -> str:
    body = json.loads(row["body"])
    data: dict[str, Any] = body.get("data") or {}
    ids = {name: data[name] for name in ("item", "review_id", "incident", "intent") if isinstance(data.get(name), str)}
    said = {"kind": row["kind"], "at": body.get("at"), "mission_id": body.get("mission_id"), **ids}
    return f"id: {row['seq']}\nevent: {row['kind']}\ndata: {json.dumps(said)}\n\n"
