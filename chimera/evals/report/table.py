"""The evaluation in a terminal: what failed, by kind, and against the baseline."""

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from chimera.evals.cases import KINDS
from chimera.evals.record import Record
from chimera.evals.report.figures import Evaluation
from chimera.evals.report.visible import visible
from chimera.evals.results import CaseResult


def print_table(evaluation: Evaluation, console: Console) -> None:
    """Print the whole evaluation."""
    console.print(_cases(evaluation))
    console.print(_kinds(evaluation))
    figures, comparison = evaluation.figures, evaluation.comparison
    console.print(
        f"[bold]{figures['passed']:g} of {figures['cases']:g} cases passed[/], "
        f"{figures['harness_errors']:g} harness errors, {evaluation.seconds:.0f} s"
    )
    if comparison.reason:
        console.print(f"Not compared: {escape(comparison.reason)}.")
    elif comparison.pass_rate:
        change = comparison.pass_rate
        console.print(
            f"Against the baseline, {len(comparison.compared)} cases: pass rate {change.before:.1%} to "
            f"{change.now:.1%} (change between {change.low:+.1%} and {change.high:+.1%})"
        )
        for title, names in (("worse", comparison.regressed), ("fixed", comparison.fixed), ("gone", comparison.gone)):
            if names:
                console.print(f"  {title}: {', '.join(names)}")
        if comparison.worse:
            console.print(f"  [red]worse beyond chance[/]: {', '.join(comparison.worse)}")
    for name, why in evaluation.skipped.items():
        console.print(f"Skipped {escape(name)}: {escape(why)}.")
    missed = f"[bold red]FAIL[/] {', '.join(evaluation.missed)}" if evaluation.missed else "[bold green]PASS[/]"
    console.print(missed)


def progress_line(result: CaseResult, done: int, total: int) -> str:
    """One line for a case that came home, in rich's markup."""
    record: Record = result.record
    mark = "[red]harness[/]" if record.problem else "[green]pass[/]" if result.passed else "[red]fail[/]"
    return f"[dim]{done:>3}/{total}[/] {mark} {result.id} [dim]{record.status}, {record.seconds:.1f} s[/]"


def _cases(evaluation: Evaluation) -> Table:
    table = Table(title="Cases that did not pass", title_justify="left", show_lines=False, expand=False)
    for name in ("case", "ended as", "why"):
        table.add_column(name, overflow="fold")
    for result in evaluation.results:
        if not result.passed:
            why = "\n".join(visible(text) for text in result.failures)
            table.add_row(result.id, result.record.status, escape(why))
    if not table.row_count:
        table.add_row("none", "", "")
    return table


def _kinds(evaluation: Evaluation) -> Table:
    table = Table(title="By kind", title_justify="left")
    table.add_column("kind")
    for name in ("cases", "passed", "pass rate"):
        table.add_column(name, justify="right")
    figures = evaluation.figures
    for kind in KINDS:
        count = figures.get(f"cases_{kind}")
        if count:
            rate = figures[f"pass_rate_{kind}"]
            table.add_row(kind.replace("_", " "), f"{count:g}", f"{count * rate:.0f}", f"{rate:.1%}")
    return table
