"""The documents of all servers, compiled for search; a server's can come and go at any time."""

from collections.abc import Iterable

import numpy as np

from chimera.tools.discovery.documents import ToolDocument
from chimera.tools.discovery.puffery import Screen
from chimera.tools.discovery.segment import Entry, Segment, entry_of
from chimera.tools.discovery.terms import Floats, Places, Terms

DELTA_LEAST = 500


class Shelf:
    """The documents in two parts, a large one and one for what came since, and what is common to them."""

    def __init__(self, screen: Screen | None = None) -> None:
        self._screen = screen
        self.terms = Terms()
        self._servers: dict[str, list[Entry]] = {}
        self._places: dict[int, tuple[Segment, int]] = {}
        self._main = Segment([], self.terms)
        self._delta = Segment([], self.terms)
        self._fresh: dict[str, list[Entry]] = {}
        self._changed = True
        self._norms: list[Floats] = []
        self._idf: tuple[Floats, Floats] = (np.empty(0), np.empty(0))
        self._entries: list[Entry] = []
        self._owners: Places = np.empty(0, dtype=np.intp)
        self._total = 0.0
        self.count = 0

    def put(self, server: str, documents: Iterable[ToolDocument], vectors: Floats | None = None) -> None:
        """Replace what the server has."""
        self.drop(server)
        found = list(documents)
        entries = [
            entry_of(document, self.terms, None if vectors is None else vectors[at], self._screen)
            for at, document in enumerate(found)
        ]
        if not entries:
            return
        for entry in entries:
            self.terms.count(entry.terms, 1)
        self.count += len(entries)
        self._servers[server] = self._fresh[server] = entries
        self._changed = True

    def drop(self, server: str) -> None:
        """Forget a server; nothing happens when there is none."""
        for entry in self._servers.pop(server, []):
            self.terms.count(entry.terms, -1)
            self.count -= 1
            if (place := self._places.pop(id(entry), None)) is not None:
                segment, slot = place
                segment.alive[slot] = False
            self._changed = True
        self._fresh.pop(server, None)

    def servers(self) -> list[str]:
        """The servers that have documents."""
        return sorted(self._servers)

    def segments(self) -> tuple[Segment, Segment]:
        """The two parts, compiled."""
        if self._changed:
            self._compile()
        return self._main, self._delta

    def norms(self) -> list[Floats]:
        """Lengths of the documents of both parts."""
        self.segments()
        return self._norms

    def server_numbers(self) -> Places:
        """The server of each document of both parts, as a number."""
        self.segments()
        return self._owners

    def mean_length(self) -> float:
        """The mean length of a document."""
        self.segments()
        return self._total / self.count if self.count and self._total else 1.0

    def idf(self) -> tuple[Floats, Floats]:
        """How rare each term is, as BM25 sees it and as vectors do."""
        self.segments()
        return self._idf

    def entries(self) -> list[Entry]:
        """The documents of both parts, those that are gone included."""
        self.segments()
        return self._entries

    def _compile(self) -> None:
        if self._fresh:
            living = [entry for at, entry in enumerate(self._delta.entries) if self._delta.alive[at]]
            fresh = [entry for entries in self._fresh.values() for entry in entries]
            waiting = living + fresh
            gone = int((~self._main.alive).sum())
            if len(waiting) + gone > max(DELTA_LEAST, self.count // 8):
                self._main = Segment([entry for entries in self._servers.values() for entry in entries], self.terms)
                self._delta = Segment([], self.terms)
            else:
                self._delta = Segment(waiting, self.terms)
            for segment in (self._main, self._delta):
                self._places |= {
                    id(entry): (segment, at) for at, entry in enumerate(segment.entries) if segment.alive[at]
                }
            self._fresh = {}
        parts = (self._main, self._delta)
        df = self.terms.df().astype(np.float32)
        self._idf = (
            np.log1p(np.maximum(self.count - df + 0.5, 0.5) / (df + 0.5)),
            np.log((1 + self.count) / (1 + df)) + 1,
        )
        self._norms = [np.maximum(segment.norms(self._idf[1]), 1e-6) for segment in parts]
        self._entries = [entry for segment in parts for entry in segment.entries]
        numbers: dict[str, int] = {}
        owners = (entry.document.server for entry in self._entries)
        self._owners = np.array([numbers.setdefault(owner, len(numbers)) for owner in owners], dtype=np.intp)
        self._total = float(sum(segment.lengths[segment.alive].sum() for segment in parts))
        self._changed = False
