"""The compliance report in a terminal."""

from collections.abc import Iterator

from rich.console import RenderableType
from rich.text import Text

from chimera.cli.view.tables import table
from chimera.cli.view.text import line, moment
from chimera.core.contracts import Threat
from chimera.store.audit.owasp import risk_of, risks
from chimera.store.audit.report import Summary

ACTIONS = ("allow", "edit", "escalate", "reject")


def summary_tables(summary: Summary) -> Iterator[RenderableType]:
    """One table after the other."""
    part = summary.part
    since, until = (moment(at) if at else "" for at in (part.since, part.until))
    yield Text(f"{part.tenant}, {since or 'from the beginning'} to {until or 'now'}: {summary.events:,} events")
    found = summary.verified
    yield Text(
        f"the chain does not verify: {line(found, 300)}"
        if isinstance(found, str)
        else f"the chain is intact: {found.events:,} events, signed up to {found.signed_to:,}",
        style="red" if isinstance(found, str) else "green",
    )
    decided = summary.plain()["decisions"]
    yield _counts("edge", [(edge, actions) for edge, actions in decided.items()])
    rules = {rule: found["actions"] for rule, found in summary.plain()["rules"].items()}
    yield _counts("rule", [(f"{rule} {risk_of(rule)}".strip(), actions) for rule, actions in rules.items()])
    made = table("OWASP", "decisions", "risk", right=("decisions",))
    for risk, title in risks().items():
        made.add_row(risk, str(summary.risks[risk]), title)
    yield made
    threats = table("threat", "decisions", right=("decisions",))
    for threat in Threat:
        threats.add_row(threat.value, str(summary.threats[threat]))
    yield threats
    opened = sum(incident.state == "open" for incident in summary.incidents)
    reviews = summary.reviews
    yield Text(f"{len(summary.incidents)} incidents, {opened} of them open")
    yield Text(f"{reviews.asked} reviews, {reviews.answered} answered, {reviews.open} open")
    yield Text(f"{len(summary.policy)} changes of the policy, {len(summary.checkpoints)} checkpoints")


def _counts(title: str, rows: list[tuple[str, dict[str, int]]]) -> RenderableType:
    made = table(title, *ACTIONS, right=ACTIONS)
    for name, actions in rows:
        made.add_row(Text(line(name, 80)), *(str(actions.get(action, 0)) for action in ACTIONS))
    return made
