"""A request that asks for several things, cut into what it asks for; rules of English, no model."""

import re

from chimera.tools.discovery.words import stems

CLAUSES_MAX = 8
_LEAST = 2  # stems that a clause needs to mean something by itself
_SENTENCE = re.compile(r"(?<=[.!?;:])\s+|\n+|(?<=[。！？；])")
_AND = (
    r"and(?: then| also)?|then|also|additionally|furthermore|moreover|as well as|along with|plus|after that|finally|"
    r"next|followed by|while|before|after|so that i can|by"
)
_VERB = (
    r"get|find|show|tell|give|list|check|fetch|search|look|add|send|set|turn|convert|calculate|compute|translate|book|"
    r"plan|open|read|write|extract|download|upload|update|delete|run|start|stop|play|pick|suggest|recommend|retrieve|"
    r"provide|generate|create|make"
)
_JOINT = re.compile(rf",?\s+(?:{_AND})\s+(?=\w)|,\s+(?=(?:and\s+)?(?:{_VERB})\b)", re.IGNORECASE)


def clauses(text: str) -> list[str]:
    """What a request asks for, each a text of its own; the text itself where it asks for one thing. At most eight."""
    found: list[str] = []
    for sentence in _SENTENCE.split(text):
        waiting = ""
        for part in _JOINT.split(sentence.strip()):
            waiting = f"{waiting} {part}".strip()
            if len(set(stems(waiting))) >= _LEAST:
                found.append(waiting)
                waiting = ""
        if waiting and found:
            found[-1] += f" {waiting}"
        elif waiting:
            found.append(waiting)
    return found[:CLAUSES_MAX] if len(found) > 1 else [text]
