"""One analysis of a feed: what is in its newest window, what rises, and how asked keywords do."""

from collections.abc import Sequence
from dataclasses import dataclass

from chimera.core.errors import InputError
from chimera.tools.feeds.analysis.risers import Counts, Rise, Tally, count, measure, risers
from chimera.tools.feeds.analysis.terms import MAX_TEXT, TermReader, mentions, searchable
from chimera.tools.feeds.analysis.windows import choose_windows
from chimera.tools.feeds.model import Feed, Post

MAX_LIMIT = 30
MAX_KEYWORDS = 20
MAX_KEYWORD = 80


@dataclass(frozen=True)
class Analysis:
    """What was found. ``keywords`` are in the order they were asked for, the others best first."""

    feed: Feed
    counts: Counts
    keywords: list[Rise]
    frequent: list[Rise]
    rising: list[Rise]
    notes: list[str]


def study(
    feed: Feed,
    *,
    timeframe: str | None = None,
    keywords: Sequence[str] = (),
    limit: int = 10,
    posts: list[Post] | None = None,
) -> Analysis:
    """Compare the newest window of ``feed`` with the windows before it.

    With ``keywords`` only posts that mention one of them are looked at, and each keyword is measured as well.
    ``posts`` restricts the analysis to some of the feed's posts; the window is that of the whole feed.

    Raises:
        InputError: ``timeframe``, ``keywords`` or ``limit`` are not usable.
    """
    wanted = _checked(keywords)
    if not 1 <= limit <= MAX_LIMIT:
        raise InputError(f"limit is {limit}, allowed are 1 to {MAX_LIMIT}")
    windows = choose_windows(feed.posts, timeframe)
    candidates = sorted(feed.posts if posts is None else posts, key=lambda post: (post.at, post.row))
    hits = _hits(feed, candidates, wanted)
    reader = TermReader(feed.columns)
    counts = count([post for post in candidates if post.row in hits] if wanted else candidates, windows, reader)
    topics = [tally for key, tally in counts.terms.items() if key not in counts.common]
    tallies = sorted(topics, key=lambda tally: (-tally.now, tally.term))
    notes = [*feed.notes, *windows.notes]
    if not windows.baseline_windows:
        notes.append("there are no posts before the window, so nothing can be said to rise")
    if not reader.has_terms:
        notes.append("the feed has no text and no repeated topics, only numbers: there are no terms to count")
    if wanted and not counts.now:
        notes.append("no post in the window mentions a keyword")
    return Analysis(
        feed=feed,
        counts=counts,
        keywords=[_measure(word, hits, candidates, counts) for word in wanted],
        frequent=[measure(tally, counts) for tally in tallies[:limit]],
        rising=risers(counts, limit),
        notes=notes,
    )


def _checked(keywords: Sequence[str]) -> list[str]:
    wanted = list(dict.fromkeys(" ".join(word.split()) for word in keywords))
    if len(wanted) > MAX_KEYWORDS or not all(1 <= len(word) <= MAX_KEYWORD for word in wanted):
        raise InputError(f"keywords: at most {MAX_KEYWORDS}, each of 1 to {MAX_KEYWORD} characters")
    return wanted


def _hits(feed: Feed, posts: list[Post], keywords: list[str]) -> dict[int, set[str]]:
    """Rows that mention a keyword, with the keywords that they mention."""
    # Looking for the first word as it is written is many times faster than the pattern, and rules most posts out.
    patterns = [(word, word.split()[0].lower(), mentions(word)) for word in keywords]
    columns = searchable(feed)
    found: dict[int, set[str]] = {}
    for post in posts if patterns else ():
        text = "\n".join(post.fields.get(name, "")[:MAX_TEXT] for name in columns).lower()
        hits = {word for word, start, pattern in patterns if start in text and pattern.search(text)}
        if hits:
            found[post.row] = hits
    return found


def _measure(word: str, hits: dict[int, set[str]], posts: list[Post], counts: Counts) -> Rise:
    tally = Tally()
    for post in posts:
        if word in hits.get(post.row, ()):
            index = counts.windows.index(post.at)
            if index == 0:
                tally.rows.append(post.row)
            elif index > 0:
                tally.before[index] += 1
    return measure(tally, counts, term=word)
