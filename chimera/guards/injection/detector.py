"""The detector: rules and classifier over every view of a text, to one calibrated risk with the stretches behind it."""

import hashlib
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from threading import Lock

import numpy as np

from chimera.guards.injection.classifier import Weights, logits, shipped_weights, windows
from chimera.guards.injection.features import Features, features
from chimera.guards.injection.normalise import View, views
from chimera.guards.injection.rules import load_rules

CACHED = 4096
MAX_SPANS = 12
PIECE = 32_768
"""Characters that are looked at in one go, so that memory stays bounded."""

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
        key = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
        with self._lock:
            known = self._known.get(key)
            if known is not None:
                self._known.move_to_end(key)
                return known
        found = self._look(text)
        with self._lock:
            self._known[key] = found
            while len(self._known) > self._cached:
                self._known.popitem(last=False)
        return found

    def score_many(self, texts: Sequence[str]) -> list[Finding]:
        """Score texts one after another; meant for a thread beside the event loop."""
        return [self.score(text) for text in texts]

    def _look(self, text: str) -> Finding:
        hits = [hit for view in views(text) for piece in _pieces(view) for hit in _hits(*piece, self.weights)]
        if not hits:
            return Finding(0.0)
        hits.sort(key=lambda hit: -hit.logit)
        risk = self.weights.risk(hits[0].logit)
        level = sum(1 for mark in self.weights.marks if risk >= mark)
        if not level:
            return Finding(risk)
        telling = [hit for hit in hits if self.weights.risk(hit.logit) >= self.weights.marks[0]]
        spans = list(dict.fromkeys(span for hit in telling[:MAX_SPANS] for span in _spans(hit)))
        rules = dict.fromkeys(load_rules()[rule].id for hit in telling for rule, _ in hit.rules)
        return Finding(risk, tuple(spans[:MAX_SPANS]), tuple(rules), level)


def text_features(text: str) -> Iterator[Features]:
    """The features of every view of a text, in pieces of bounded length: what training and evaluation look at."""
    for view in views(text):
        for _, _, found in _pieces(view):
            yield found


def best_logit(found: Sequence[Features], weights: Weights) -> float:
    """The logit of a text by its features: that of its most telling window."""
    return max(float(logits(piece, weights).max()) for piece in found)


def _pieces(view: View) -> Iterator[tuple[View, int, Features]]:
    for start in range(0, max(len(view.text) - _OVERLAP, 1), PIECE - _OVERLAP):
        yield view, start, features(view.text[start : start + PIECE])


def _hits(view: View, offset: int, found: Features, weights: Weights) -> Iterator[_Hit]:
    scores = logits(found, weights)
    index, place = found.rules
    stretches = windows(found.length)
    for at in (int(at) for at in np.argsort(-scores, kind="stable")[:MAX_SPANS]):
        start, end = stretches[at]
        some = slice(int(np.searchsorted(place, start)), int(np.searchsorted(place, end)))
        rules = tuple((int(rule), offset + int(begins)) for rule, begins in zip(index[some], place[some], strict=True))
        yield _Hit(float(scores[at]), view, offset + start, offset + end, rules)


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
