"""Tools found by what is asked for, in memory, without I/O and without waiting."""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from chimera.tools.discovery.documents import ToolDocument
from chimera.tools.discovery.matching import Scores, match
from chimera.tools.discovery.puffery import Screen
from chimera.tools.discovery.query import Query, read_query
from chimera.tools.discovery.segment import Entry
from chimera.tools.discovery.shelf import Shelf
from chimera.tools.discovery.terms import Floats

Allowed = Callable[[str], bool] | Collection[str] | None
WHY_WORDS = 6


@dataclass(frozen=True, slots=True)
class Hit:
    """A tool found, by its full name. ``score`` compares hits of one search alone. ``why`` is for people to read."""

    name: str
    score: float
    why: str


class ToolIndex:
    """What servers say of their tools, searched by meaning.

    Not for several threads at once. Every score follows from what is in the index now, in whatever order it came.
    """

    def __init__(self, screen: Screen | None = None) -> None:
        self._shelf = Shelf(screen)

    def __len__(self) -> int:
        return self._shelf.count

    def put(self, server: str, documents: Iterable[ToolDocument]) -> None:
        """Replace the tools of a server."""
        self._shelf.put(server, documents)

    def drop(self, server: str) -> None:
        """Forget a server; nothing happens when it is not there."""
        self._shelf.drop(server)

    def search(self, query: str, k: int = 5, allowed: Allowed = None) -> list[Hit]:
        """The ``k`` tools that answer a request best, best first; fewer where fewer have anything to do with it.

        ``allowed`` says which tools, by full name, may be shown at all.
        """
        read = read_query(query, self._shelf.terms)
        scores = _fused(match(self._shelf, read))
        entries = [entry for segment in self._shelf.segments() for entry in segment.entries]
        found: list[Hit] = []
        for place in _best_first(scores, entries):
            if len(found) == k or scores[place] <= 0:
                break
            name = entries[place].document.name
            if _may(name, allowed):
                found.append(Hit(name=name, score=float(scores[place]), why=self._why(read, entries[place])))
        return found

    def _why(self, query: Query, entry: Entry) -> str:
        """The words of the request that the tool has, rarest first."""
        idf, _ = self._shelf.idf()
        shared = [int(term) for term in query.ids[query.single] if term >= 0 and term in entry.terms]
        shared.sort(key=lambda term: -float(idf[term]))
        return ", ".join(self._shelf.terms.text(term) for term in shared[:WHY_WORDS])


def _fused(scores: Scores) -> Floats:
    """Both ways of matching, each as a share of its best."""
    parts: Sequence[Floats] = (scores.bm25[0], scores.vector[0])
    return np.sum([part / max(float(part.max(initial=0.0)), 1e-9) for part in parts], axis=0) / len(parts)


def _best_first(scores: Floats, entries: Sequence[Entry]) -> list[int]:
    """Places by falling score; equal ones by name."""
    found = np.flatnonzero(scores > 0)
    return sorted(found.tolist(), key=lambda place: (-float(scores[place]), entries[place].document.name))


def _may(name: str, allowed: Allowed) -> bool:
    if allowed is None:
        return True
    return allowed(name) if callable(allowed) else name in allowed
