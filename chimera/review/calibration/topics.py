"""Which results always go to a human, whatever anybody's confidence: claims on politics, health, money and law.

By words and phrases, so that it can be read, is quick and errs to the side of asking. A single weak word is not
enough: a feed says "market" or "court" in passing. ``chimera eval topics`` measures it.
"""

import json
import re
from functools import cache
from importlib import resources

GENERAL = "general"
ENOUGH = 2
"""Points that make a topic: one strong expression has them, of weak words it takes two different ones."""


@cache
def _expressions() -> dict[str, tuple[re.Pattern[str], re.Pattern[str]]]:
    words = json.loads(resources.files("chimera.review.calibration").joinpath("topics.json").read_text("utf-8"))
    return {topic: (_any(found["strong"]), _any(found["weak"])) for topic, found in words.items()}


def _any(phrases: list[str]) -> re.Pattern[str]:
    """Any of the phrases as whole words; ``*`` stands for any ending."""
    parts = (re.escape(phrase).replace(r"\*", r"\w*").replace(r"\ ", r"\s+") for phrase in phrases)
    return re.compile(rf"\b(?:{'|'.join(parts)})\b", re.IGNORECASE)


def topic_of(*texts: str) -> str:
    """The topic with the most to say for it, ``general`` when none has enough."""
    text = "\n".join(texts)
    points: dict[str, int] = {}
    for topic, (strong, weak) in _expressions().items():
        found = ENOUGH * len({match.lower() for match in strong.findall(text)})
        points[topic] = found + len({match.lower() for match in weak.findall(text)})
    best = max(points, key=lambda topic: points[topic])
    return best if points[best] >= ENOUGH else GENERAL
