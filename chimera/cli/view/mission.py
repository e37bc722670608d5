"""All about one mission, from what the records say of it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.console import RenderableType
from rich.markdown import Markdown
from rich.padding import Padding
from rich.text import Text

from chimera.cli.view.outcome import payment_lines
from chimera.cli.view.progress import Progress, TaskProgress
from chimera.cli.view.tables import audit_table, table
from chimera.cli.view.text import clean, count, line, moment, short, size
from chimera.cli.view.tree import DECISIONS, MARKS, STATUS, plan_tree, status_of
from chimera.core.contracts import Usage

Data = dict[str, Any]
TRAIL_SHOWN = 15
WHICH_SHOWN = 40


def mission_view(found: Data, artifacts: Path) -> Iterator[RenderableType]:
    """The parts to print, in order. ``found`` is what ``ChimeraSwarm.describe`` gives."""
    mission: Data = found["mission"]
    result: Data = mission["result"] or {}
    status = status_of(mission)
    yield Text.assemble(
        ("mission ", "dim"), (str(mission["id"]), "bold"), "  ", (status, f"bold {STATUS.get(status, '')}"),
        (f"  {moment(mission['created_at'])}", "dim"),
    )  # fmt: skip
    if status == "stopped":
        yield Text(f"  nobody runs it: `chimera resume {short(mission['id'])}` goes on with it", style="dim")
    yield from _asked(mission["asked"])
    yield plan_tree(progress_of(found))
    if result.get("answer"):
        yield _head("Answer")
        yield Padding(Markdown(clean(result["answer"]), hyperlinks=False), (0, 0, 0, 2))
    yield from _list("Missing", result.get("unmet") or [])
    yield from _list("Reasons", result.get("reasons") or [])
    yield from _decisions(found["trail"])
    yield from _withheld(found["trail"])
    yield from _verdicts(found["tasks"])
    yield from _reviews(found["reviews"])
    yield from _artifacts(found["artifacts"], artifacts / str(mission["id"]))
    usage = Usage.model_validate(found["usage"])
    tokens = f"{usage.tokens_in:,} tokens in, {usage.tokens_out:,} out"
    yield _head("Cost", f"{usage.cost}  ({count(usage.calls, 'model call')}, {tokens})")
    yield from _list("Payments", [text for one in found["payments"] for text in payment_lines(one)])
    if result.get("provider"):
        yield _head("Made by", line(result["provider"], 100))
    yield from _trail(found["trail"])


def progress_of(found: Data) -> Progress:
    """The state of a mission's newest plans, as a live view would show it."""
    mission = found["mission"]
    progress = Progress(str(mission["id"]), goal=mission["goal"], status=str(mission["status"]))
    rounds: dict[str, int] = {}
    for row in found["tasks"]:
        rounds[row["team"]] = max(rounds.get(row["team"], 0), row["plan_round"])
    for row in found["tasks"]:
        team = progress.team(row["team"])
        team.round = rounds[row["team"]]
        verdict: Data = row["verdict"] or {}
        why = "; ".join(verdict.get("reasons") or [])
        if row["plan_round"] < team.round:
            if why and row["state"] != "done":
                team.failures.append(f"{row['title']}: {why}")
        else:
            plan: Data = row["plan"]
            team.tasks[row["id"]] = TaskProgress(
                id=row["id"],
                title=row["title"],
                tools=list(plan["tools"]),
                needs=list(plan["depends_on"]),
                limits=dict(plan.get("limits", {})),
                state=row["state"] if row["state"] in MARKS else "planned",
                attempt=row["attempt"],
                confidence=verdict.get("confidence"),
                why=why,
            )
    for item in found["reviews"]:
        if item["state"] == "open":
            progress.reviews_open[str(item["id"])] = item["question"]
    return progress


def _head(title: str, text: str = "") -> Text:
    return Text.assemble((f"{title}  ", "bold cyan"), text)


def _list(title: str, items: list[str]) -> Iterator[RenderableType]:
    if items:
        yield _head(title)
        for item in items:
            yield Text(f"  {line(item, 300)}")


def _asked(asked: Data) -> Iterator[RenderableType]:
    for name, value in asked["inputs"].items():
        yield Text.assemble((f"  {line(name, 64)} ", "dim"), line(value, 200))
    if asked["persona"]:
        yield Text.assemble(("  persona ", "dim"), line(asked["persona"], 200))
    for constraint in asked["constraints"]:
        yield Text.assemble(("  must hold ", "dim"), line(constraint, 200))


def _decisions(trail: list[Data]) -> Iterator[RenderableType]:
    decided = [event for event in trail if event["kind"] == "guard.decision"]
    if not decided:
        return
    made = table("edge", "decision", "threat", "task", "what", "rules and reasons")
    for event in decided:
        data = event["data"]
        why = ", ".join([*data.get("rules", []), *data.get("reasons", [])])
        made.add_row(
            Text(str(data.get("edge", ""))),
            Text(str(data.get("action", "")), style=DECISIONS.get(str(data.get("action")), "")),
            Text(str(data.get("threat", ""))),
            Text(line(data.get("task", ""), 20)),
            Text(line(data.get("capability", ""), 50)),
            Text(line(why, 160)),
        )
    yield _head("Guard decisions")
    yield Padding(made, (0, 0, 0, 2))


def _withheld(trail: list[Data]) -> Iterator[RenderableType]:
    """What of the words of others no model was shown as text."""
    held = [event["data"] for event in trail if event["kind"] == "extracted"]
    if not held:
        return
    made = table("task", "what came", "threat", "withheld", "which and why", "values read by")
    for data in held:
        which: Data = data.get("which") or {}
        records = f"{data['records']} of {count(data.get('of', 0), 'record')}" if "records" in data else "the text"
        made.add_row(
            Text(line(data.get("task", ""), 20)),
            Text(line(data.get("capability") or f"words of {data.get('from', '')}", 50)),
            Text(str(data.get("threat", ""))),
            Text(records),
            Text("\n".join(line(f"{name}: {why}", 120) for name, why in list(which.items())[:WHICH_SHOWN])),
            Text(str(data.get("by", ""))),
        )
    yield _head("Withheld from models", "looks like an attack; typed values were shown")
    yield Padding(made, (0, 0, 0, 2))


def _verdicts(tasks: list[Data]) -> Iterator[RenderableType]:
    judged = [row for row in tasks if row["verdict"]]
    if not judged:
        return
    made = table("task", "plan", "state", "outcome", "confidence", "checks and reasons", right=("confidence", "plan"))
    for row in judged:
        verdict = row["verdict"]
        checks = [f"{'✓' if check['passed'] else '✗'} {check['criterion']}" for check in verdict.get("checks", [])]
        made.add_row(
            Text(f"{line(row['team'], 40)}/{row['id']}"),
            str(row["plan_round"]),
            Text(str(row["state"]), style=MARKS.get(row["state"], ("", ""))[1]),
            Text(str(verdict.get("outcome", ""))),
            f"{verdict.get('confidence', 0):.2f}",
            Text(line("; ".join([*checks, *verdict.get("reasons", [])]), 200)),
        )
    yield _head("Verdicts")
    yield Padding(made, (0, 0, 0, 2))


def _reviews(reviews: list[Data]) -> Iterator[RenderableType]:
    if not reviews:
        return
    made = table("item", "point", "answer", "by", "question and reason")
    for row in reviews:
        decision: Data = row["decision"] or {}
        reason = f" ({decision['reason']})" if decision.get("reason") else ""
        made.add_row(
            short(row["id"]),
            Text(str(row["point"])),
            Text(str(decision.get("action") or "open"), style="" if decision else "magenta"),
            Text(line(decision.get("reviewer", ""), 60)),
            Text(line(f"{row['question']}{reason}", 200)),
        )
    yield _head("Reviews")
    yield Padding(made, (0, 0, 0, 2))


def _artifacts(artifacts: list[Data], folder: Path) -> Iterator[RenderableType]:
    if artifacts:
        yield _head("Artifacts")
        for item in artifacts:
            yield Text(f"  {line(item['name'], 64)}  {size(item['size'])}  {line(folder / item['name'], 400)}")


def _trail(trail: list[Data]) -> Iterator[RenderableType]:
    if not trail:
        return
    more = len(trail) - TRAIL_SHOWN
    yield _head("Trail", f"{count(len(trail), 'event')}, last {trail[-1]['hash']}")
    if more > 0:
        yield Text(f"  … {more} earlier: `chimera audit show`", style="dim")
    yield Padding(audit_table(trail[-TRAIL_SHOWN:], missions=False), (0, 0, 0, 2))
