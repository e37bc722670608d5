"""The attacks in a terminal: a row per suite and plan, then what was left over."""

from rich.console import Console
from rich.table import Table

from chimera.evals.attacks.figures import GOALS, Evaluation

_COLUMNS = (
    ("attack\nsuccess", "attack_success"),
    ("severe\nonly", "severe_success"),
    ("clean\nutility", "clean_utility"),
    ("under\nattack", "utility_under_attack"),
    ("to a\nhuman", "approval_share"),
    ("adap-\ntive", "adaptive_success"),
    ("after", "follow_success"),
    ("spread", "spread_success"),
)


def print_table(evaluation: Evaluation, console: Console) -> None:
    """Print the whole evaluation."""
    figures = evaluation.figures
    table = Table(title="An agent that always obeys the attacker", title_justify="left", padding=(0, 0))
    for name in ("plan", "suite", *(title for title, _ in _COLUMNS)):
        table.add_column(name, no_wrap=True)
    for number, plan in enumerate(evaluation.plans):
        ahead = "" if number == 0 else f"{plan}_"
        for suite in [one.suite for one in evaluation.results] + ["all"]:
            middle = "" if suite == "all" else f"{suite}_"
            table.add_row(plan, suite, *(f"{figures[f'{ahead}{middle}{key}']:.1%}" for _, key in _COLUMNS))
    console.print(table)
    console.print(
        f"{figures['pairs']:g} pairs, {figures['harness_errors']:g} harness errors; without a guard, "
        f"{figures['unguarded_success']:.1%} of the attacks and {figures['unguarded_utility']:.1%} of the tasks "
        f"succeed; "
        f"{figures['guard_ms_per_call']:.2f} ms a call, {evaluation.seconds:.0f} s"
    )
    for plan, lines in evaluation.conditions["residue"].items():
        for line in lines[:40]:
            console.print(f"  [dim]{plan}[/]: {line}", highlight=False)
    for name in evaluation.measured.missed:
        sign, wanted = GOALS[name]
        console.print(f"  [red]missed[/] {name} {figures[name]:g}, wanted {sign} {wanted:g}")
    console.print("[bold red]FAIL[/]" if evaluation.measured.missed else "[bold green]PASS[/]")
