"""The plan of a dry run: tasks, tools, and what they may cost."""

from typing import Any

from rich.text import Text

from chimera.cli.view.output import show
from chimera.cli.view.question import plan_table
from chimera.cli.view.text import line
from chimera.core.contracts import Plan
from chimera.core.money import Money
from chimera.core.settings import Settings
from chimera.models.choose import OFFLINE

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


def expected(found: dict[str, Plan], settings: Settings) -> dict[str, Any]:
    """What the plans may take: tokens, and at most what cost; None for what nobody can say.

    The offline rules cost nothing, and their plans say nothing of tokens. A planner that gives no tokens has made no
    estimate.
    """
    model = settings.model_for("worker")
    tokens = sum(task.cost_tokens for plan in found.values() for task in plan.tasks) or None
    if model == OFFLINE:
        return {"model": model, "tokens": tokens, "cost": Money(units=0).model_dump()}
    most = cost(tokens, model, settings) if tokens else None
    return {"model": model, "tokens": tokens, "cost": most.model_dump() if most else None}


def show_plans(found: dict[str, Plan], estimate: dict[str, Any]) -> None:
    """Put the plans and their estimated cost on stdout."""
    for team, plan in found.items():
        show(Text.assemble(("team ", "dim"), (line(team, 60), "bold")), plan_table(plan), "")
    show(Text(f"Estimate: {_in_words(**estimate)}"), "")


def _in_words(model: str, tokens: int | None, cost: dict[str, Any] | None) -> str:
    if model == OFFLINE:
        return "nothing, as the offline rules cost nothing"
    if tokens is None:
        return "none, as the planner gave no tokens"
    most = f"at most about {Money.model_validate(cost)}" if cost else f"no price of {line(model, 60)} in the settings"
    return f"about {tokens:,} tokens, {most}"
