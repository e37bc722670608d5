"""How surprising a count is, given the windows before it.

The expected count is the mean of the earlier windows, raised by as much as the rest of the feed has become busier, and
never lowered when it became quieter. The score is the distance from it in standard deviations: of a Poisson count, or
those of the earlier windows, whichever is larger, and one post of smoothing so that the first mention of
something does not score without end.
"""

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from chimera.tools.feeds.analysis.terms import TermReader
from chimera.tools.feeds.analysis.windows import Windows
from chimera.tools.feeds.model import Post

MIN_SCORE = 2.0
MIN_GROWTH = 1.5
"""A rise of less than half is not worth telling, however certain it is."""
MIN_SHARE_GROWTH = 1.2
"""What grows only as the feed does, such as a line that is under every post, does not rise."""
MIN_SUPPORT = 3
MIN_WINDOWS_FOR_SPREAD = 4

COMMON_SHARES = ((200, 0.2), (10, 0.5))
"""From so many earlier posts on: a word of free text in more than this share of them is too common to be a topic."""


@dataclass
class Tally:
    """Posts of one term: rows in the newest window, and how many in each earlier one."""

    rows: list[int] = field(default_factory=list[int])
    spellings: Counter[str] = field(default_factory=Counter[str])
    before: Counter[int] = field(default_factory=Counter[int])

    @property
    def now(self) -> int:
        """Posts in the newest window."""
        return len(self.rows)

    @property
    def term(self) -> str:
        """How the term is most often written in the newest window."""
        return min(self.spellings.items(), key=lambda item: (-item[1], item[0]))[0]


@dataclass(frozen=True)
class Rise:
    """One term measured. ``before`` is the mean per earlier window; ``growth`` is None when there was none."""

    term: str
    now: int
    before: float
    growth: float | None
    score: float
    rows: tuple[int, ...]


@dataclass
class Counts:
    """Every term of the newest window, and the size of all windows. ``common``: keys of words that are no topics."""

    windows: Windows
    terms: dict[str, Tally]
    common: set[str]
    now: int
    per_window: Counter[int]

    @property
    def before(self) -> float:
        """Mean number of posts per earlier window."""
        return self.per_window.total() / self.windows.baseline_windows if self.windows.baseline_windows else 0.0


def count(posts: Iterable[Post], windows: Windows, reader: TermReader) -> Counts:
    """Count the terms of the newest window in all windows. Posts count in the order of their time, then their row."""
    terms: dict[str, Tally] = {}
    earlier: list[tuple[int, Post]] = []
    now = 0
    for post in sorted(posts, key=lambda post: (post.at, post.row)):
        index = windows.index(post.at)
        if index > 0:
            earlier.append((index, post))
        elif index == 0:
            now += 1
            for key, spelling in reader.read(post).items():
                tally = terms.setdefault(key, Tally())
                tally.rows.append(post.row)
                tally.spellings[spelling] += 1
    for index, post in earlier:
        for key in reader.read(post):
            if key in terms:
                terms[key].before[index] += 1
    share = next((share for least, share in COMMON_SHARES if len(earlier) >= least), 1.0)
    common = {key for key, tally in terms.items() if tally.before.total() > len(earlier) * share}
    return Counts(windows, terms, common - reader.whole, now, Counter(index for index, _ in earlier))


def measure(tally: Tally, counts: Counts, term: str | None = None) -> Rise:
    """Measure one term against its past."""
    windows = counts.windows.baseline_windows
    before = tally.before.total() / windows if windows else 0.0
    others = counts.before - before  # without the term's own posts: a large rise must not hide itself
    busier = max(1.0, (counts.now - tally.now) / others) if others > 0 else 1.0
    expected = before * busier
    spread = expected
    if windows >= MIN_WINDOWS_FOR_SPREAD:
        squares = sum(value * value for value in tally.before.values())
        spread = max(expected, (squares / windows - before * before) * windows / (windows - 1) * busier * busier)
    return Rise(
        term=term or tally.term,
        now=tally.now,
        before=round(before, 2),
        growth=round(tally.now / before, 2) if before else None,
        score=round((tally.now - expected) / math.sqrt(spread + 1.0), 2) if windows else 0.0,
        rows=tuple(tally.rows),
    )


def risers(counts: Counts, limit: int) -> list[Rise]:
    """The terms that rise most, most surprising first; always in the same order for the same posts."""
    if not counts.windows.baseline_windows or not counts.before:
        return []
    found = [measure(tally, counts) for tally in counts.terms.values() if tally.now >= MIN_SUPPORT]
    rising = [
        rise
        for rise in found
        if rise.score >= MIN_SCORE
        and rise.now >= MIN_GROWTH * rise.before
        and rise.now * counts.before >= MIN_SHARE_GROWTH * rise.before * counts.now
    ]
    return sorted(rising, key=lambda rise: (-rise.score, -rise.now, rise.term))[:limit]
