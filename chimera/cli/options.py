"""The options and arguments that several commands share."""

from enum import StrEnum
from typing import Annotated, Any

import typer

Json = Annotated[bool, typer.Option("--json", help="One JSON document on stdout, for machines.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress; only the result.")]
Events = Annotated[bool, typer.Option("--events", help="Every event as a JSON document on a line of stderr.")]
Mission = Annotated[str, typer.Argument(metavar="MISSION", help="Id of a mission, or its first digits.")]
By = Annotated[
    str | None,
    typer.Option(
        "--by", metavar="NAME", help="Who decides, as enrolled (`principal ls`); default: your account's name."
    ),
]
Tenant = Annotated[str, typer.Option(help="Whose missions and records.")]
Constraints = Annotated[
    list[str] | None, typer.Option("--constraint", "-c", metavar="TEXT", help="Something that must hold; repeatable.")
]


class Reviewing(StrEnum):
    """Who answers what a mission asks a human, of those that need no plug-in."""

    ASK = "ask"
    SCRIPTED = "scripted"
    NONE = "none"


def reviewers() -> list[str]:
    """The names that ``--reviewer`` takes: our own, and those of installed plug-ins, of which nothing is imported."""
    from chimera.core.plugins import REVIEWERS, installed

    return list(dict.fromkeys([*(str(who) for who in Reviewing), *installed(REVIEWERS)]))


def _known_reviewer(name: str | None) -> str | None:
    if name is None or name in list(Reviewing) or name in (known := reviewers()):
        return name
    raise typer.BadParameter(f"{name[:60]!r} is none of {', '.join(known)}.")


Reviewer = Annotated[
    str | None,
    typer.Option(
        "--reviewer",
        metavar="NAME",
        help="Who answers what a human is asked: you at this terminal (ask), a script that says that it is one "
        "(scripted), nobody, so that the mission waits (none), or an installed plug-in. Default: ask on a terminal, "
        "none elsewhere.",
        show_default=False,
        callback=_known_reviewer,
        autocompletion=reviewers,
    ),
]


def name_reviewers(command: Any) -> None:
    """Put the names that there are into the help of a command that takes one."""
    for option in command.params:
        if option.name == "reviewer":
            option.metavar = "|".join(reviewers())
