"""Shows the events of a mission that runs in another process."""

import asyncio
from typing import TYPE_CHECKING

from chimera.cli.view.follow import FRAME_S, View
from chimera.core.contracts import Event, MissionStatus

if TYPE_CHECKING:
    from chimera.swarm import ChimeraSwarm

LOOK_S = 1.0
SETTLE_S = 0.3
OPEN = (MissionStatus.RUNNING, MissionStatus.WAITING)


async def watch(swarm: "ChimeraSwarm", mission_id: str, view: View) -> str:
    """Show events until the mission has ended and nothing comes any more; return how it stands then."""
    queue: asyncio.Queue[Event] = asyncio.Queue()
    reading = asyncio.ensure_future(_read(swarm, mission_id, queue))
    try:
        return await _until_ended(swarm, mission_id, queue, reading, view)
    finally:
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
        view.close()


async def _read(swarm: "ChimeraSwarm", mission_id: str, queue: "asyncio.Queue[Event]") -> None:
    async for event in swarm.app.context.events.watch(mission_id):
        queue.put_nowait(event)


async def _until_ended(
    swarm: "ChimeraSwarm", mission_id: str, queue: "asyncio.Queue[Event]", reading: "asyncio.Future[None]", view: View
) -> str:
    loop = asyncio.get_running_loop()
    last = looked = loop.time()
    status, first = "", True
    while True:
        while not queue.empty():
            view.event(queue.get_nowait())
            last = loop.time()
        if reading.done():
            reading.result()  # raises what ended it
        if first or loop.time() - looked > LOOK_S:
            first, looked = False, loop.time()
            status = str((await swarm.app.context.missions.get(mission_id))["status"])
            view.frame(await swarm.app.context.usage.total(mission_id))
        elif status not in OPEN and loop.time() - last > SETTLE_S:
            return status
        else:
            view.frame(None)
        await asyncio.sleep(FRAME_S)
