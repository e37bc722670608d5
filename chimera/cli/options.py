"""The options and arguments that several commands share."""

from enum import StrEnum
from typing import Annotated

import typer

Json = Annotated[bool, typer.Option("--json", help="One JSON document on stdout, for machines.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress; only the result.")]
Events = Annotated[bool, typer.Option("--events", help="Every event as a JSON document on a line of stderr.")]
Mission = Annotated[str, typer.Argument(metavar="MISSION", help="Id of a mission, or its first digits.")]
Tenant = Annotated[str, typer.Option(help="Whose missions and records.")]
Constraints = Annotated[
    list[str] | None, typer.Option("--constraint", "-c", metavar="TEXT", help="Something that must hold; repeatable.")
]


class Reviewing(StrEnum):
    """Who answers what a mission asks a human."""

    ASK = "ask"
    SCRIPTED = "scripted"
    NONE = "none"


Reviewer = Annotated[
    Reviewing | None,
    typer.Option(
        "--reviewer",
        help="Who answers what a human is asked: you at this terminal, a script that says that it is one, or nobody "
        "(the mission waits). Default: ask on a terminal, none elsewhere.",
        show_default=False,
    ),
]
