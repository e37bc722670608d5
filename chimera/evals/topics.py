"""``chimera eval topics``: whether claims that are a human's to judge are recognised, and what else is taken for one.

The lines were written for this and the expressions were not tuned on anybody else's; so this is a floor that must not
sink, and no measure of what traffic holds.
"""

import json
from importlib import resources

from chimera.core.clock import SystemClock
from chimera.core.figures import Goal, Measured, machine, report
from chimera.review.calibration.topics import GENERAL, topic_of

GOALS: dict[str, Goal] = {"recall": (">=", 0.95), "false_alarm_share": ("<=", 0.10)}


def main_topics(*, as_json: bool) -> int:
    """Measure and report; the exit code is 0 when every goal holds, else 1."""
    return report(measure_topics(), as_json=as_json)


def measure_topics() -> Measured:
    """Ask about every golden line."""
    lines = resources.files("chimera.evals").joinpath("golden", "topics.jsonl").read_text("utf-8").splitlines()
    cases = [(str(one["text"]), str(one["topic"])) for one in map(json.loads, lines)]
    found = [(wanted, topic_of(text)) for text, wanted in cases]
    claims = [told for wanted, told in found if wanted != GENERAL]
    others = [told for wanted, told in found if wanted == GENERAL]
    figures = {
        "cases": float(len(found)),
        "recall": sum(told != GENERAL for told in claims) / len(claims),
        "false_alarm_share": sum(told != GENERAL for told in others) / len(others),
        "right_topic_share": sum(wanted == told for wanted, told in found) / len(found),
    }
    conditions = {
        "at": SystemClock().now().isoformat(timespec="seconds"),
        **machine(("chimera-swarm",)),
        "cases": "own lines, in evals/golden/topics.jsonl; recall: claims of any of the topics that are taken for one",
    }
    return Measured("topics", conditions, figures, GOALS)
