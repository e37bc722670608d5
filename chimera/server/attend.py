"""Attending to a mission that runs as a stream: it stops when it is cancelled or its time is up."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from langgraph.errors import GraphRecursionError

from chimera.core.contracts import MissionStatus
from chimera.core.errors import MissionError, MissionExpired, MissionNotFound
from chimera.core.tasks import stop
from chimera.nodes.context import Context
from chimera.nodes.ending import end
from chimera.swarm import RECURSION_LIMIT, WATCH_S


async def attended(mission_id: str, parts: AsyncGenerator[Any], context: Context) -> AsyncGenerator[Any]:
    """Pass on the parts of a running mission, as long as it may run.

    Raises:
        MissionExpired: it did not finish in time. MissionError: it was cancelled, or cannot go on. It has ended.
    """
    async with aclosing(_watched(mission_id, parts, context)) as watched:
        try:
            async for part in watched:
                yield part
        except GraphRecursionError:
            error = MissionError(f"the mission took more than {RECURSION_LIMIT:,} steps")
            await end(mission_id, MissionStatus.FAILED, f"{error} | {error.hint}", context, by="server")
            raise error from None
        except MissionError as error:
            cancelled = error.context.get("cancelled", False)
            reason = error.message if cancelled else f"{error} | {error.hint}"
            status = MissionStatus.CANCELLED if cancelled else MissionStatus.FAILED
            await end(mission_id, status, reason, context, by="server")
            raise


async def _watched(mission_id: str, parts: AsyncGenerator[Any], context: Context) -> AsyncGenerator[Any]:
    finished = object()
    watch = asyncio.create_task(_until_it_must_stop(mission_id, context))
    try:
        async with aclosing(parts):
            while True:
                step = asyncio.ensure_future(anext(parts, finished))
                try:
                    await asyncio.wait({step, watch}, return_when=asyncio.FIRST_COMPLETED)
                    if watch.done():
                        watch.result()
                    part = step.result()
                finally:
                    await stop(step)
                if part is finished:
                    return
                yield part
    finally:
        await stop(watch)


async def _until_it_must_stop(mission_id: str, context: Context) -> None:
    while True:
        await asyncio.sleep(WATCH_S)
        try:
            row = await context.missions.get(mission_id)
        except MissionNotFound:  # the run has not come to its intake
            continue
        if row["cancel_requested"]:
            raise MissionError("cancelled on request", cancelled=True)
        if row["deadline_at"] <= context.clock.now():
            raise MissionExpired(f"the mission did not finish within {row['mission']['deadline_s']:g} s")
