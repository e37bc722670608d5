"""The plan of a dry run: tasks, tools, and what they may cost."""

from typing import Any

from rich.text import Text

from chimera.cli.view.output import show
from chimera.cli.view.question import plan_table
from chimera.cli.view.text import line
from chimera.core.contracts import Plan
from chimera.core.money import Money
from chimera.core.settings import Settings

UNITS_PER_PRICE = 1_000_000


def plans(tasks: list[dict[str, Any]]) -> dict[str, Plan]:
    """The newest plan of each team, from the rows of the tasks."""
    newest: dict[str, int] = {}
    for row in tasks:
        newest[row["team"]] = max(newest.get(row["team"], 0), row["plan_round"])
    return {
        team: Plan.model_validate(
            {"tasks": [row["plan"] for row in tasks if (row["team"], row["plan_round"]) == (team, number)]}
        )
        for team, number in newest.items()
    }


def cost(tokens: int, model: str, settings: Settings) -> Money | None:
    """The most that so many tokens of a model cost; None when its price is not in the settings."""
    price = settings.prices.get(model)
    return Money(units=-(-tokens * max(price) // UNITS_PER_PRICE)) if price else None


def estimate(tasks: list[dict[str, Any]], settings: Settings) -> None:
    """Put the plans and their estimated cost on stdout."""
    model = settings.model_for("worker")
    found = plans(tasks)
    for team, plan in found.items():
        show(Text.assemble(("team ", "dim"), (line(team, 60), "bold")), plan_table(plan), "")
    tokens = sum(task.cost_tokens for plan in found.values() for task in plan.tasks)
    most = cost(tokens, model, settings)
    if model == "offline":
        price = "free: the offline rules cost nothing"
    else:
        price = f"at most about {most}" if most else f"no price of {line(model, 60)} in the settings (prices)"
    show(Text(f"Estimate: about {tokens:,} tokens, {price}"), "")
