"""The same for programs without an event loop: :func:`run` and :func:`stream`."""

import asyncio
from collections.abc import AsyncGenerator, Iterator
from typing import Any

from chimera.core.contracts import Event, Mission, MissionResult
from chimera.core.settings import Settings
from chimera.swarm import ChimeraSwarm


def run(mission: Mission | str, settings: Settings | None = None, **options: Any) -> MissionResult:
    """Open a swarm, run one mission, close it. ``options`` as of :meth:`ChimeraSwarm.run`."""

    async def once() -> MissionResult:
        async with ChimeraSwarm(settings) as swarm:
            return await swarm.run(mission, **options)

    return asyncio.run(once())


def stream(mission: Mission | str, settings: Settings | None = None, **options: Any) -> Iterator[Event]:
    """Open a swarm, run one mission and yield its events as they come. ``options`` as of :meth:`ChimeraSwarm.run`."""
    with asyncio.Runner() as runner:
        swarm = ChimeraSwarm(settings)
        runner.run(swarm.__aenter__())
        events = swarm.stream(mission, **options)
        try:
            while True:
                try:
                    yield runner.run(anext(events))
                except StopAsyncIteration:
                    return
        finally:
            runner.run(_close(events, swarm))


async def _close(events: AsyncGenerator[Event], swarm: ChimeraSwarm) -> None:
    try:
        await events.aclose()  # a stream that was left early stops its mission before the services go
    finally:
        await swarm.__aexit__(None, None, None)
