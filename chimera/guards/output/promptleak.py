"""Our own prompts in what leaves: word by word, whole or in parts, also encoded."""

import re
from collections.abc import Iterator, Sequence

from chimera.core.contracts import Threat
from chimera.guards.output.decode import views
from chimera.guards.output.finding import Context, Finding, Scanner
from chimera.guards.output.textguard import TextGuard

SHINGLE = 8
"""Words in a row that must be the same. Ordinary prose shares five or six with any text, hardly ever eight."""
LONGEST_CHANCE = 10
"""A run of fewer words is let be."""
REJECT_SHARE = 0.3
"""From this share of a prompt on, the text is rejected instead of edited."""

_WORD = re.compile(r"[^\W_]+")
_INSTEAD = "[internal instructions removed]"


class Prompts:
    """The texts that must not leave, cut into overlapping runs of ``SHINGLE`` words."""

    def __init__(self, prompts: Sequence[str]) -> None:
        self._shingles = [frozenset(_shingles(prompt)) for prompt in prompts]
        self._known: frozenset[tuple[str, ...]] = frozenset().union(*self._shingles)

    def share(self, text: str) -> float:
        """The largest share of one prompt that is in the text, 0 to 1."""
        there = {shingle for shingle in _shingles(text) if shingle in self._known}
        return max((len(there & own) / len(own) for own in self._shingles if own and there), default=0.0)

    def runs(self, text: str) -> Iterator[tuple[int, int]]:
        """Start and end of each run of at least ``LONGEST_CHANCE`` words that stands in a prompt."""
        if not self._known:
            return
        words = list(_WORD.finditer(text))
        plain = [word.group().casefold() for word in words]
        first = last = -1
        for at in range(len(words) - SHINGLE + 1):
            if tuple(plain[at : at + SHINGLE]) not in self._known:
                continue
            if at > last:  # nothing of the run before is left in this one
                if last - first >= LONGEST_CHANCE:
                    yield words[first].start(), words[last - 1].end()
                first = at
            last = at + SHINGLE
        if last - first >= LONGEST_CHANCE:
            yield words[first].start(), words[last - 1].end()


class PromptLeak(TextGuard):
    """No prompt of ours leaves. Passages are cut out; a text with much of a prompt, or with one encoded, is rejected.

    ``prompts`` are the texts to keep; what the user wrote in the goal is no secret. A translation or a retelling of a
    prompt is not recognised.
    """

    rule = "output.prompt-leak"

    def __init__(self, prompts: Sequence[str] = ()) -> None:
        self._prompts = Prompts(prompts)

    def scanner(self, context: Context) -> Scanner:
        """The check, which leaves alone what the user wrote."""
        own = frozenset(shingle for text in context.named for shingle in _shingles(text))
        return lambda text: find_prompts(text, self._prompts, own)


def find_prompts(text: str, prompts: Prompts, named: frozenset[tuple[str, ...]] = frozenset()) -> list[Finding]:
    """Every passage of a prompt. ``named`` are runs of words that the user wrote."""
    runs = [run for run in prompts.runs(text) if not named or not named.issuperset(_shingles(text[slice(*run)]))]
    share = prompts.share(text) if runs else 0.0
    hidden = any(any(prompts.runs(view)) for view in views(text) if view is not text)
    if hidden or share >= REJECT_SHARE:
        why = "a prompt of ours, encoded" if hidden else "much of a prompt of ours"
        return [Finding("prompt.leak", why, 0, len(text), "reject", Threat.HIGH)]
    return [
        Finding("prompt.passage", "a passage of a prompt of ours", start, end, "edit", Threat.MEDIUM, _INSTEAD)
        for start, end in runs
    ]


def _shingles(text: str) -> Iterator[tuple[str, ...]]:
    words = [word.group().casefold() for word in _WORD.finditer(text)]
    return (tuple(words[at : at + SHINGLE]) for at in range(len(words) - SHINGLE + 1))
