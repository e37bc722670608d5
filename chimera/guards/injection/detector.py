"""The detector: rules and classifier over every view of a text, to one calibrated risk with the stretches behind it."""

import hashlib
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from threading import Lock

import numpy as np

from chimera.guards.injection.classifier import Weights, logits, shipped_weights, stretches
from chimera.guards.injection.features import Features, features
from chimera.guards.injection.normalise import View, views
from chimera.guards.injection.rules import load_rules

CACHED = 4096
MAX_SPANS = 12
PIECE = 32_768
"""Characters that are looked at in one go, so that memory stays bounded."""
SHEET = 65_536
"""Characters of several pieces that are looked at together."""

_OVERLAP = 384


@dataclass(frozen=True, slots=True)
class Finding:
    """How much a text looks like an injected instruction.

    ``risk``: 0..1, calibrated on sources that the model had not seen. ``spans``: (start, end, why) in the text as it
    was given, most telling first. ``rules``: ids of the rules that matched there. ``level``: how rare such a risk is
    among benign texts of unseen sources: 0 (not rare), 1 (5%), 2 (1%), 3 (0.2%).
    """

    risk: float
    spans: tuple[tuple[int, int, str], ...] = ()
    rules: tuple[str, ...] = ()
    level: int = 0


@dataclass(frozen=True, slots=True)
class _Piece:
    """A part of a view of a text: what is scored in one go, and where it stands in the view."""

    text: int
    view: View
    start: int
    shown: str


@dataclass(frozen=True, slots=True)
class _Hit:
    """A window of a view with its logit."""

    logit: float
    view: View
    start: int
    end: int
    rules: tuple[tuple[int, int], ...]


class InjectionDetector:
    """Scores texts; the same text is looked at once. Safe to call from several threads."""

    def __init__(self, weights: Weights | None = None, *, cached: int = CACHED) -> None:
        self._weights = weights
        self._cached = cached
        self._known: OrderedDict[bytes, Finding] = OrderedDict()
        self._lock = Lock()

    @property
    def weights(self) -> Weights:
        """The model in use: the one given, or the one in this package."""
        if self._weights is None:
            self._weights = shipped_weights()
        return self._weights

    def score(self, text: str) -> Finding:
        """Score one text. Linear in its length; never raises on any text."""
        return self.score_many([text])[0]

    def known(self, text: str) -> Finding | None:
        """What was found in a text before, if it is remembered."""
        return self._remembered(_key(text))

    def score_many(self, texts: Sequence[str]) -> list[Finding]:
        """Score texts together, which costs much less than one after the other."""
        keys = [_key(text) for text in texts]
        found = {key: self._remembered(key) for key in keys}
        fresh = {key: text for key, text in zip(keys, texts, strict=True) if found[key] is None}
        looked = dict(zip(fresh, self._look(list(fresh.values())), strict=True))
        with self._lock:
            self._known.update(looked)
            while len(self._known) > self._cached:
                self._known.popitem(last=False)
        return [found[key] or looked[key] for key in keys]

    def _remembered(self, key: bytes) -> Finding | None:
        with self._lock:
            known = self._known.get(key)
            if known is not None:
                self._known.move_to_end(key)
            return known

    def _look(self, texts: Sequence[str]) -> list[Finding]:
        best = np.zeros(len(texts))
        hits: list[list[_Hit]] = [[] for _ in texts]
        for sheet in _sheets(piece for at, text in enumerate(texts) for piece in _pieces(at, text)):
            found = features([piece.shown for piece in sheet])
            some = stretches(found)
            scores = logits(found, self.weights, some)
            risks = self.weights.risks(scores)
            np.maximum.at(best, [sheet[number].text for number, _, _ in some], risks)
            for at in (risks >= self.weights.marks[0]).nonzero()[0]:
                number, start, end = some[at]
                piece = sheet[number]
                hits[piece.text].append(_hit(float(scores[at]), piece, found, number, start, end))
        return [self._finding(risk, some) for risk, some in zip(best.tolist(), hits, strict=True)]

    def _finding(self, risk: float, hits: list[_Hit]) -> Finding:
        level = sum(1 for mark in self.weights.marks if risk >= mark)
        hits.sort(key=lambda hit: -hit.logit)
        spans = list(dict.fromkeys(span for hit in hits[:MAX_SPANS] for span in _spans(hit)))
        rules = dict.fromkeys(load_rules()[rule].id for hit in hits for rule, _ in hit.rules)
        return Finding(risk, tuple(spans[:MAX_SPANS]), tuple(rules), level)


def text_features(text: str) -> Iterator[Features]:
    """The features of every view of a text, in pieces of bounded length: what training and evaluation look at."""
    for piece in _pieces(0, text):
        yield features([piece.shown])


def best_logit(found: Sequence[Features], weights: Weights) -> float:
    """The logit of a text by its features: that of its most telling window."""
    return max(float(logits(piece, weights).max()) for piece in found)


def _key(text: str) -> bytes:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def _pieces(at: int, text: str) -> Iterator[_Piece]:
    for view in views(text):
        for start in range(0, max(len(view.text) - _OVERLAP, 1), PIECE - _OVERLAP):
            yield _Piece(at, view, start, view.text[start : start + PIECE])


def _sheets(pieces: Iterable[_Piece]) -> Iterator[list[_Piece]]:
    sheet: list[_Piece] = []
    size = 0
    for piece in pieces:
        if sheet and size + len(piece.shown) > SHEET:
            yield sheet
            sheet, size = [], 0
        sheet.append(piece)
        size += len(piece.shown)
    if sheet:
        yield sheet


def _hit(logit: float, piece: _Piece, found: Features, number: int, start: int, end: int) -> _Hit:
    """A telling window, its places led back from the sheet to the view."""
    index, place = found.rules
    shift = piece.start - found.texts[number][0]
    some = slice(int(np.searchsorted(place, start)), int(np.searchsorted(place, end)))
    rules = tuple((int(rule), shift + int(begins)) for rule, begins in zip(index[some], place[some], strict=True))
    return _Hit(logit, piece.view, shift + start, shift + end, rules)


def _spans(hit: _Hit) -> Iterator[tuple[int, int, str]]:
    """Where the rules matched in a window, or the window itself when it is the classifier alone that speaks."""
    way = hit.view.name.partition(">")[2]
    where = f" (hidden: {way})" if way else ""
    if not hit.rules:
        start, end = hit.view.span(hit.start, min(hit.end, len(hit.view.text)))
        yield start, end, f"reads like instructions to an AI{where}"
    for rule, begins in hit.rules:
        matched = load_rules()[rule].pattern.match(hit.view.text.lower(), begins)
        ends = matched.end() if matched else hit.end
        start, end = hit.view.span(begins, min(ends, len(hit.view.text)))
        yield start, end, f"{load_rules()[rule].reason}{where}"
