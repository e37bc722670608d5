"""Tools found by what is asked for, in memory, without I/O and without waiting."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from chimera.tools.discovery.documents import ToolDocument
from chimera.tools.discovery.features import Places, Seen, candidates, features
from chimera.tools.discovery.matching import match
from chimera.tools.discovery.outcomes import Outcomes
from chimera.tools.discovery.puffery import Screen
from chimera.tools.discovery.query import Query, read_query
from chimera.tools.discovery.ranking import Ranking, shipped_ranking
from chimera.tools.discovery.segment import Entry
from chimera.tools.discovery.shelf import Shelf
from chimera.tools.discovery.terms import Flags, Floats

Allowed = Callable[[str], bool] | Collection[str] | None
WHY_WORDS = 6


@dataclass(frozen=True, slots=True)
class Hit:
    """A tool found, by its full name. ``score`` compares hits of one search alone. ``why`` is for people to read."""

    name: str
    score: float
    why: str


@dataclass(frozen=True, slots=True)
class Nearness:
    """What a dense model says of one part of a request, where the caller keeps the vectors.

    ``cosines``: by full name, of the tools that are nearest and of any others; ``some``: those of a sample of all,
    for the tools that nothing is said of, as far as they are below.
    """

    cosines: Mapping[str, float]
    some: Sequence[float]


@dataclass(frozen=True, slots=True)
class Look:
    """The candidates for a request, and what is known of each."""

    query: Query
    entries: Sequence[Entry]
    figures: Mapping[str, Floats]


class ToolIndex:
    """What servers say of their tools, searched by meaning.

    Not for several threads at once. Every score follows from what is in the index now, in whatever order it came.
    A dense model is the caller's: it hands in the vectors of :meth:`.ToolDocument.text` with the documents, and those
    of :func:`.parts_of` with a request; without either, words alone decide.
    """

    def __init__(
        self, screen: Screen | None = None, outcomes: Outcomes | None = None, ranking: Ranking | None = None
    ) -> None:
        self._shelf = Shelf(screen)
        self._outcomes = outcomes
        self._ranking = ranking or shipped_ranking()

    def __len__(self) -> int:
        return self._shelf.count

    def put(self, server: str, documents: Iterable[ToolDocument], vectors: Floats | None = None) -> None:
        """Replace the tools of a server. ``vectors``: rows of length one, of a dense model, in the same order."""
        self._shelf.put(server, documents, vectors)

    def drop(self, server: str) -> None:
        """Forget a server; nothing happens when it is not there."""
        self._shelf.drop(server)

    def search(
        self,
        query: str,
        k: int = 5,
        allowed: Allowed = None,
        vectors: Floats | Sequence[Nearness] | None = None,
        outcomes: Outcomes | None = None,
    ) -> list[Hit]:
        """The ``k`` tools that answer a request best, best first; fewer where fewer have anything to do with it.

        ``allowed`` says which tools, by full name, may be shown at all. ``vectors``: rows of length one, of the same
        model as the documents', for the parts of the request; or what they say of the tools. ``outcomes``: those of who
        asks, instead of the index's own.
        """
        look = self.look(query, allowed, vectors)
        if not look.entries:
            return []
        scores = self._ranking.scores(look.figures)
        names = [entry.document.name for entry in look.entries]
        told = outcomes or self._outcomes
        if told is not None:
            scores = scores + np.array(told.shifts(query, names))
        order = sorted(range(len(names)), key=lambda at: (-float(scores[at]), names[at]))
        return [Hit(names[at], float(scores[at]), self._why(look.query, look.entries[at])) for at in order[: max(k, 0)]]

    def look(self, query: str, allowed: Allowed = None, vectors: Floats | Sequence[Nearness] | None = None) -> Look:
        """The candidates for a request, as the ranking sees them."""
        entries = self._shelf.entries()
        read = read_query(query, self._shelf.terms, self._ranking.request_words)
        scores = match(self._shelf, read)
        seen = Seen(read, scores, entries, self._shelf.server_numbers(), self._cosines(vectors))
        fused = seen.fused()
        places = candidates(seen, fused, self._eligible(entries, scores.alive, allowed))
        figures = features(self._shelf, seen, fused, places) if len(places) else {}
        return Look(read, [entries[place] for place in _listed(places)], figures)

    def _eligible(self, entries: Sequence[Entry], alive: Flags, allowed: Allowed) -> Flags:
        if allowed is None:
            return alive
        may = allowed if callable(allowed) else allowed.__contains__
        return alive & np.array([may(entry.document.name) for entry in entries], dtype=np.bool_)

    def _cosines(self, vectors: Floats | Sequence[Nearness] | None) -> Floats | None:
        """What the dense model says of each document; of one without a vector, what it says of all on average."""
        if vectors is None:
            return None
        if not isinstance(vectors, np.ndarray):
            return self._told(vectors)
        segments = self._shelf.segments()
        told = np.array([entry.vector is not None for entry in self._shelf.entries()], dtype=np.bool_)
        told &= np.concatenate([segment.alive for segment in segments])
        if not told.any():
            return None
        parts = [
            np.zeros((len(vectors), len(segment.entries))) if segment.vectors is None else vectors @ segment.vectors.T
            for segment in segments
        ]
        cosines = np.concatenate(parts, axis=1).astype(np.float32)
        cosines[:, ~told] = cosines[:, told].mean(axis=1, keepdims=True)
        return cosines

    def _told(self, parts: Sequence[Nearness]) -> Floats | None:
        """What is told of each document. The others get the sample's cosines, as none of them is among the nearest."""
        names = [entry.document.name for entry in self._shelf.entries()]
        if not names or not any(part.cosines for part in parts):
            return None
        rows = np.zeros((len(parts), len(names)), dtype=np.float32)
        for row, part in zip(rows, parts, strict=True):
            known = np.array([part.cosines.get(name, np.nan) for name in names], dtype=np.float32)
            least = min(part.cosines.values(), default=0.0)
            some = np.minimum(np.array([*part.some, *([] if part.some else [least])], dtype=np.float32), least)
            row[:] = np.where(np.isnan(known), np.resize(some, len(names)), known)
        return rows

    def _why(self, query: Query, entry: Entry) -> str:
        """The words of the request that the tool has, rarest first."""
        idf, _ = self._shelf.idf()
        known = query.ids[query.single & (query.ids >= 0)]
        shared = np.intersect1d(known, entry.terms)
        shared = shared[np.argsort(-idf[shared], kind="stable")]
        return ", ".join(self._shelf.terms.text(int(term)) for term in shared[:WHY_WORDS])


def _listed(places: Places) -> list[int]:
    return places.tolist()
