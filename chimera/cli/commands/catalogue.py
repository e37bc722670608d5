"""``chimera errors``: every error code, what it means and what helps; the source of docs/errors.md."""

import sys
from typing import Annotated

import typer

from chimera.cli.door import EXIT_CODES
from chimera.cli.options import Json
from chimera.cli.view.output import emit, show
from chimera.core.errors import ChimeraError, catalogue

HEAD = """\
# Errors and exit codes

<!-- Written by `chimera errors --markdown > docs/errors.md`; a test holds it to the code. -->

Every failure is one line with a code, and a line with what to do about it:

    CH301 Postgres cannot be reached: connection refused
    -> Check CHIMERA_DATABASE_URL and CHIMERA_REDIS_URL, or unset them to use the embedded servers.

With `--json` it is a document on stdout: `{"error": {"code": ..., "message": ..., "remedy": ..., "exit_code": ...}}`.
Codes never change their meaning. *Retryable* says that the same request may work later without a change.
"""


def errors_command(
    json: Json = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="As the page docs/errors.md.")] = False,
) -> None:
    """List every error code with its meaning, remedy and exit code."""
    if markdown:
        sys.stdout.write(page())
    elif json:
        emit(
            {"errors": [_entry(kind) for kind in catalogue()], "exit_codes": {str(k): v for k, v in EXIT_CODES.items()}}
        )
    else:
        from chimera.cli.view.tables import table

        made = table("code", "name", "exit", "meaning and remedy", right=("exit",))
        for kind in catalogue():
            made.add_row(kind.code, kind.__name__, str(kind.exit_code), f"{_meaning(kind)}\n-> {kind.remedy}")
        show(made)


def page() -> str:
    """The catalogue as Markdown."""
    rows = [
        f"| {kind.code} | `{kind.__name__}` | {_cell(_meaning(kind))} | {_cell(kind.remedy)} | {kind.exit_code} "
        f"| {'yes' if kind.retryable else ''} |"
        for kind in catalogue()
    ]
    codes = [f"| {code} | {meaning} |" for code, meaning in EXIT_CODES.items()]
    return "\n".join(
        [
            HEAD,
            "## Errors",
            "",
            "| code | class | meaning | remedy | exit | retryable |",
            "|---|---|---|---|---|---|",
            *rows,
            "",
            "## Exit codes of every command",
            "",
            "| exit | meaning |",
            "|---|---|",
            *codes,
            "",
        ]
    )


def _entry(kind: type[ChimeraError]) -> dict[str, object]:
    return {
        "code": kind.code,
        "name": kind.__name__,
        "meaning": _meaning(kind),
        "remedy": kind.remedy,
        "exit_code": kind.exit_code,
        "retryable": kind.retryable,
    }


def _meaning(kind: type[ChimeraError]) -> str:
    return (kind.__doc__ or "").splitlines()[0]


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
