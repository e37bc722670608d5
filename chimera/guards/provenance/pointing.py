"""Which records a request points to: by their own fields, never by free text that a stranger wrote."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from chimera.core.lexical import stems
from chimera.guards.provenance.asking import Asking
from chimera.guards.provenance.dates import days_in
from chimera.guards.provenance.manifest import Kind
from chimera.guards.provenance.records import Record
from chimera.guards.provenance.tokens import same

ENOUGH = 2
"""Points from which on a record is meant at all."""
TIES_MAX = 200
"""Records that are meant equally well, of which so many are compared; more are a crowd, and none is meant."""
_NAMED, _EXACT = 3, 2
_GENERAL = frozenset(
    stems(
        "email mail message file document folder event meeting appointment calendar transaction payment channel user "
        "page website note list reminder new my re fwd the"
    )
)
_PARTIES = (Kind.PAYEE, Kind.ADDRESS, Kind.MEMBER, Kind.CHANNEL, Kind.OBJECT)


class Pointing:
    """What one request points to, among all that has been observed so far."""

    def __init__(self, asking: Asking) -> None:
        self._asking = asking
        self._known: dict[int, tuple[Record, int, int]] = {}
        self._best: dict[str, tuple[int, int, list[Record]]] = {}

    def points(self, record: Record) -> int:
        """How clearly the request points to a record; 0 not at all."""
        return sum(self._both(record))

    def sure_points(self, record: Record) -> int:
        """The same without names that merely resemble an address: anybody can call his mailbox ``ann.smith``."""
        return self._both(record)[0]

    def _both(self, record: Record) -> tuple[int, int]:
        if id(record) not in self._known:
            sure = alike = 0
            for name, values in record.values.items():
                kind = record.kind(name)
                for value in values[:50]:
                    found = _points(kind, value, self._asking)
                    sure += found
                    alike += mailbox_points(value, self._asking) if kind == Kind.ADDRESS and not found else 0
            sure += _EXACT if record.by_user and record.alone else 0
            self._known[id(record)] = (record, sure, alike)
        return self._known[id(record)][1:]

    def pointed(self, record: Record, alike: Sequence[Record], *, many: bool = False) -> bool:
        """Whether the request points to this record, and to no other of its kind as clearly.

        ``alike``: all known records of its kind, itself among them. An extreme counts too: the largest file, the last
        message. With ``many``, all that are meant equally count.
        """
        own = self.points(record)
        if own < ENOUGH:
            return _is_extreme(record, self._asking, [one for one in alike if one.group == record.group])
        best, tops = self._tops(record.manifest.of, alike)
        if own < best:
            return False
        tied = _others(record, tops)
        return not tied or many or _is_extreme(record, self._asking, [record, *tied])

    def _tops(self, of: str, alike: Sequence[Record]) -> tuple[int, list[Record]]:
        count, best, tops = self._best.get(of, (-1, 0, []))
        if count != len(alike):
            best = max((self.points(one) for one in alike), default=0)
            tops = [one for one in alike if self.points(one) == best][:TIES_MAX]
            self._best[of] = (len(alike), best, tops)
        return best, tops


def _others(record: Record, alike: Sequence[Record]) -> list[Record]:
    """The other things; a second telling of the same thing is none of them."""
    ids = {same(value) for value in record.of_kind(Kind.OBJECT)}
    return [
        other
        for other in alike
        if other is not record
        and (not ids or ids.isdisjoint(same(value) for value in other.of_kind(Kind.OBJECT)))
        and (ids or other.values != record.values)
    ]


def _points(kind: Kind, value: Any, asking: Asking) -> int:
    if kind in (Kind.NAME, Kind.CHOICE):
        return _name_points(str(value), asking)
    if kind in _PARTIES:
        return _EXACT if asking.names(value) else 0
    if kind == Kind.AMOUNT:
        return _EXACT if asking.names(value) else 0
    if kind == Kind.DATE:
        return 1 if any(day.fits(said) for day in days_in(str(value)) for said in asking.days) else 0
    return 0


def mailbox_points(address: Any, asking: Asking) -> int:
    """How clearly the request speaks of somebody whose mailbox bears his name."""
    local = str(address).partition("@")[0]
    return _name_points(local.replace(".", " ").replace("_", " ").replace("-", " "), asking)


def _name_points(name: str, asking: Asking) -> int:
    words = _words(name)
    telling = [word for word in words if word not in _GENERAL]
    shared = sum(word in asking.words for word in telling)
    if asking.names(name) and (telling or len(words) > 1):
        return _NAMED + shared
    if shared and shared * 2 >= len(telling):
        return max(shared, ENOUGH)
    return shared if shared >= ENOUGH else 0


@lru_cache(maxsize=20_000)
def _words(name: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(stems(name)))


def _is_extreme(record: Record, asking: Asking, among: Sequence[Record]) -> bool:
    """Whether the request means an end of an order, and the record stands there alone."""
    if len(among) < 2:
        return False
    for end in asking.extremes:
        kinds = (Kind.MEASURE, Kind.AMOUNT) if abs(end) == 1 else (Kind.DATE,)
        for name in record.values:
            if record.kind(name) in kinds and _stands_at(record, among, name, largest=end > 0):
                return True
    return False


def _stands_at(record: Record, among: Sequence[Record], name: str, *, largest: bool) -> bool:
    keyed = [(one, one.values[name][0]) for one in among if one.values.get(name)]
    texts = [(one, value if isinstance(value, int | float) else str(value)) for one, value in keyed]
    if len({type(value) is str for _, value in texts}) != 1:
        return False
    ordered = sorted(texts, key=lambda pair: pair[1], reverse=largest)
    first = ordered[0]
    return first[0] is record and (len(ordered) == 1 or ordered[1][1] != first[1])
