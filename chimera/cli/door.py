"""The outermost group of commands: turns every failure into one line, a remedy and an exit code.

0 done   1 failed or cancelled   2 bad input   3 waits for a human   4 store   5 model   6 refused by a guard
7 tool   8 partly done   130 Ctrl-C   143 SIGTERM
"""

import logging
import os
import sys
import traceback
from typing import Any

import typer
from typer.core import TyperGroup

from chimera.cli.failures import as_chimera
from chimera.cli.options import name_reviewers
from chimera.cli.running import Interrupted
from chimera.cli.view.output import emit, tell
from chimera.cli.view.text import line, short
from chimera.core.errors import ChimeraError, InputError, ModelError, StoreError

EXIT_CODES = {
    0: "done",
    1: "failed or cancelled, or `doctor` found something wrong",
    2: "bad input or settings",
    3: "waits for a human",
    4: "the store (Postgres, Redis or the disk) failed",
    5: "the model failed",
    6: "refused by a guard",
    7: "a tool failed",
    8: "partly done: the parts that are missing are named",
    130: "stopped by Ctrl-C",
    143: "stopped by SIGTERM",
}


class Door(TyperGroup):
    """Every command runs inside :meth:`invoke`; nothing but an exit code and a usage error gets out of it."""

    _json = False

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Note whether the answer, and so the error, has to be a JSON document."""
        plain = args[: args.index("--")] if "--" in args else args
        self._json = "--json" in plain
        return super().parse_args(ctx, args)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find the command; when its help is wanted, that names what is installed here."""
        name, command, rest = super().resolve_command(ctx, args)
        if command is not None and {"-h", "--help"} & set(rest):
            name_reviewers(command)
        return name, command, rest

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        _prepare_streams()
        try:
            return super().invoke(ctx)
        except (typer.Exit, typer.Abort, SystemExit, BrokenPipeError):
            raise
        except Interrupted as stopped:
            self._report_interrupt(stopped)
            raise typer.Exit(stopped.exit_code) from None
        except KeyboardInterrupt:
            self._report_interrupt(Interrupted(2))
            raise typer.Exit(130) from None
        except BaseException as error:
            usage = getattr(error, "format_message", None)  # an error of the parser, which shows it with the usage
            if usage is not None and not self._json:
                raise
            known = InputError(str(usage()), remedy="See the command's --help.") if usage else as_chimera(error)
            self.report(known)
            _leave_full_stdout()
            if os.environ.get("CHIMERA_DEBUG") == "1":
                traceback.print_exception(error, file=sys.stderr)
            raise typer.Exit(known.exit_code) from None

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the commands of ``--help`` by what they are for. Typer's own way needs rich, and twice the time."""
        panels: dict[str, list[tuple[str, str]]] = {}
        for name in self.list_commands(ctx):
            command = self.get_command(ctx, name)
            if command is not None and not command.hidden:
                panel = str(getattr(command, "rich_help_panel", None) or "Commands")
                panels.setdefault(panel, []).append((name, command.get_short_help_str(limit=200)))
        for panel, rows in panels.items():
            with formatter.section(panel):
                formatter.write_dl(rows)

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """Write the exit codes below ``--help``."""
        with formatter.section("Exit codes"):
            formatter.write_dl([(str(code), meaning) for code, meaning in EXIT_CODES.items()])

    def report(self, error: ChimeraError) -> None:
        """Show an error: two lines on stderr, or one JSON document on stdout."""
        mission_id = error.context.get("mission_id")
        goes_on = mission_id and isinstance(error, (StoreError, ModelError))
        if self._json:
            emit({"error": {**error.as_dict(), "exit_code": error.exit_code}})
            return
        tell(line(f"{error.code} {error.message}", 500))
        tell(line(f"-> {error.hint}", 500))
        if goes_on:
            tell(f"   mission {short(mission_id)} is kept: `chimera resume {short(mission_id)}`")

    def _report_interrupt(self, stopped: Interrupted) -> None:
        if self._json:
            error = {"code": str(stopped), "message": "stopped by a signal", "remedy": stopped.remedy}
            emit({"error": {**error, "mission_id": stopped.mission_id, "exit_code": stopped.exit_code}})
        else:
            tell(f"stopped by {stopped}")
            tell(f"-> {stopped.remedy}")


def _leave_full_stdout() -> None:
    """Point a stdout that takes nothing any more elsewhere, or the interpreter would complain once more at its end."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


class _OneLine(logging.Handler):
    """Log records of warnings and worse, as lines of plain safe text."""

    def emit(self, record: logging.LogRecord) -> None:
        tell(line(f"{record.levelname.lower()}: {record.getMessage()}", 300))


def _prepare_streams() -> None:
    """Make output of any text possible in any locale, and send the log to stderr."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="replace")
    root = logging.getLogger()
    if not root.handlers:
        root.addHandler(_OneLine(level=logging.WARNING))
