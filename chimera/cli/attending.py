"""What all commands that run a mission share: who answers, what is shown, what comes out."""

from collections.abc import Callable, Coroutine
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import typer

from chimera.cli.options import Reviewing
from chimera.cli.running import Stop
from chimera.cli.view.output import emit, interactive, tell
from chimera.cli.view.text import short

if TYPE_CHECKING:
    from chimera.core.contracts import MissionResult
    from chimera.core.settings import Settings
    from chimera.review.reviewers import Reviewer
    from chimera.swarm import ChimeraSwarm


@dataclass(frozen=True)
class Showing:
    """How a mission is shown and answered for."""

    reviewer: str | None = None
    quiet: bool = False
    events: bool = False
    json: bool = False
    notes: tuple[str, ...] = ()

    @property
    def asks(self) -> str:
        """Who answers, when nobody was named."""
        if self.reviewer is not None:
            return self.reviewer
        return Reviewing.ASK if interactive() and not (self.json or self.events) else Reviewing.NONE


Work = Callable[["Reviewer | None"], Coroutine[Any, Any, "MissionResult"]]


async def attend(
    swarm: "ChimeraSwarm", mission_id: str, work: Work, showing: Showing, stop: Stop, *, goal: str = ""
) -> "MissionResult":
    """Run ``work`` for a mission, showing its progress on stderr."""
    from chimera.cli.view.follow import choose_view, follow

    model = made_by(swarm.app.settings)
    view = choose_view(mission_id, model, quiet=showing.quiet, events=showing.events, goal=goal)
    return await follow(swarm, mission_id, work(reviewer_for(showing.asks, view.paused)), view, stop)


def reviewer_for(who: str, paused: Callable[[], AbstractContextManager[None]] = nullcontext) -> "Reviewer | None":
    """The reviewer of that name: one of ours, or a plug-in.

    Raises:
        ConfigError: the plug-in cannot be loaded.
    """
    from chimera.review import reviewers

    if who == Reviewing.NONE:
        return None
    if who == Reviewing.SCRIPTED:
        return reviewers.scripted_reviewer
    if who == Reviewing.ASK:
        from chimera.cli.reviewing import TerminalReviewer

        return TerminalReviewer(paused)
    return reviewers.plugged_in(who)


def made_by(settings: "Settings") -> str:
    """The models in use, in a few words."""
    from chimera.core.settings import ROLES

    names = sorted({settings.model_for(role) for role in ROLES})
    return ", ".join("offline rules" if name == "offline" else name for name in names)


async def conclude(swarm: "ChimeraSwarm", result: "MissionResult", showing: Showing, **more: Any) -> None:
    """Show the result and end the command with its exit code.

    Raises:
        typer.Exit: always.
    """
    from chimera.cli.view.outcome import exit_code, present
    from chimera.review.reviewers import SCRIPTED
    from chimera.swarm.telling import artifacts_of, told

    document = await told(swarm.app, result, **more)
    if showing.json:
        emit(document)
    else:
        notes = list(showing.notes)
        if document["reviewed_by_script"]:
            notes.append(f"Questions to a human were answered by the {SCRIPTED}.")
        present(result, artifacts_of(swarm.app), notes=notes, payments=document["payments"])
        _say_what_is_open(result, document["open_reviews"])
    raise typer.Exit(exit_code(result))


def _say_what_is_open(result: "MissionResult", items: list[str]) -> None:
    if not items:
        return
    if result.status == "waiting":
        tell("It waits for an answer. Look at the question, answer it, and go on:")
        tell(f"  chimera review show {short(items[0])}")
        tell(f"  chimera review approve {short(items[0])} --resume    (or: reject, edit)")
    else:
        tell(f"{len(items)} of its results may be looked at afterwards: chimera review ls")
