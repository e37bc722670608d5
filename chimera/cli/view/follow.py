"""Attends a mission: shows its events while it runs, in the way that the place of the output asks for."""

import asyncio
import sys
import time
from collections.abc import Coroutine, Generator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, Protocol

from chimera.cli.failures import as_chimera
from chimera.cli.running import Stop
from chimera.cli.view.lines import event_line
from chimera.cli.view.output import escaped, stderr, tell
from chimera.cli.view.progress import Progress
from chimera.cli.view.text import elapsed
from chimera.core.contracts import Event, MissionResult, Usage

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.live import Live as Drawing

    from chimera.swarm import ChimeraSwarm

FRAME_S = 0.125
USAGE_S = 1.0
SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"


class View(Protocol):
    """Where the events of a mission go."""

    def event(self, event: Event) -> None:
        """Show one event."""
        ...

    def frame(self, usage: Usage | None) -> None:
        """Show the passing of time, with the usage so far when it was looked up."""
        ...

    def paused(self) -> AbstractContextManager[None]:
        """Leave the terminal to somebody else for the length of the block."""
        ...

    def close(self) -> None:
        """Show the last state for good."""
        ...


class Quiet:
    """Shows nothing."""

    def event(self, event: Event) -> None:
        """Show one event."""

    def frame(self, usage: Usage | None) -> None:
        """Show the passing of time."""

    def paused(self) -> AbstractContextManager[None]:
        """Nothing has to be paused."""
        return nullcontext()

    def close(self) -> None:
        """Nothing is left to show."""


class Lines(Quiet):
    """A plain line on stderr for each event."""

    def event(self, event: Event) -> None:
        """Show one event."""
        if event.kind != "result":
            tell(event_line(event))


class Ndjson(Quiet):
    """A JSON document on a line of stderr for each event, for machines."""

    def event(self, event: Event) -> None:
        """Show one event."""
        sys.stderr.write(escaped(event.model_dump_json()) + "\n")
        sys.stderr.flush()


class Live(Quiet):
    """The plan tree on a terminal, drawn anew a few times a second; the last state stays."""

    def __init__(self, progress: Progress, model: str) -> None:
        self._progress, self._model = progress, model
        self._began = time.monotonic()
        self._frames = 0
        self._drawing = self._open()

    def event(self, event: Event) -> None:
        """Take the event in; the next frame shows it."""
        self._progress.apply(event)

    def frame(self, usage: Usage | None) -> None:
        """Draw."""
        self._frames += 1
        if usage is not None:
            self._progress.usage = usage
        if self._drawing is not None:
            self._drawing.refresh()

    @contextmanager
    def paused(self) -> Generator[None]:
        """Take the tree away for the length of the block."""
        self._shut(transient=True)
        try:
            yield
        finally:
            self._drawing = self._open()

    def close(self) -> None:
        """Draw the last state and leave it there."""
        self._frames = -1
        self._shut(transient=False)

    def _open(self) -> "Drawing | None":
        from rich.live import Live as Drawing

        drawing = Drawing(console=stderr(), auto_refresh=False, get_renderable=self._draw)
        drawing.start(refresh=True)
        return drawing

    def _shut(self, *, transient: bool) -> None:
        if self._drawing is not None:
            self._drawing.transient = transient
            self._drawing.refresh()
            self._drawing.stop()
            self._drawing = None  # one that is started again would draw over what was printed in between

    def _draw(self) -> "RenderableType":
        from rich.console import Group

        from chimera.cli.view.tree import plan_tree, summary

        spin = SPINNER[self._frames % len(SPINNER)] if self._frames >= 0 else ""
        seconds = elapsed(time.monotonic() - self._began)
        return Group(plan_tree(self._progress, spin=spin), summary(self._progress, seconds, self._model))


def choose_view(mission_id: str, model: str, *, quiet: bool, events: bool, goal: str = "") -> View:
    """The view that fits the options and the terminal."""
    if events:
        return Ndjson()
    if quiet:
        return Quiet()
    console = stderr()
    if console.is_terminal and not console.is_dumb_terminal:
        return Live(Progress(mission_id, goal), model)
    return Lines()


async def follow(
    swarm: "ChimeraSwarm", mission_id: str, work: Coroutine[Any, Any, MissionResult], view: View, stop: Stop
) -> MissionResult:
    """Drive a mission to its end, and show what happens meanwhile.

    Raises:
        ChimeraError: the mission stopped; the error's context names it.
    """
    stop.mission_id = mission_id
    context = swarm.app.context
    async with context.events.listen(mission_id) as queue:
        beside = [asyncio.ensure_future(_pump(queue, view)), asyncio.ensure_future(_tick(swarm, mission_id, view))]
        try:
            result = await work
            _drain(queue, view)
            at = context.clock.now().isoformat()
            view.event(Event(mission_id=mission_id, kind="result", at=at, data=result.plain()))
            view.frame(result.usage)
        except Exception as error:  # whatever it is, it leaves as an error of ours that names the mission
            known = as_chimera(error)
            known.context.setdefault("mission_id", mission_id)
            raise known from error
        finally:
            for task in beside:
                task.cancel()
            await asyncio.gather(*beside, return_exceptions=True)
            _drain(queue, view)
            view.close()
        return result


def _drain(queue: "asyncio.Queue[Event]", view: View) -> None:
    while not queue.empty():
        view.event(queue.get_nowait())


async def _pump(queue: "asyncio.Queue[Event]", view: View) -> None:
    while True:
        view.event(await queue.get())


async def _tick(swarm: "ChimeraSwarm", mission_id: str, view: View) -> None:
    """Let a live view move, and know the cost so far."""
    if not isinstance(view, Live):
        return
    asked = 0.0
    while True:
        usage = None
        if time.monotonic() - asked > USAGE_S:
            usage, asked = await swarm.app.context.usage.total(mission_id), time.monotonic()
        view.frame(usage)
        await asyncio.sleep(FRAME_S)
