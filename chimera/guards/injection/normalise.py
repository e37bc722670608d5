"""The views of a text: as it looks, and what is encoded or hidden in it, decoded step by step within fixed bounds."""

from collections.abc import Iterator
from dataclasses import dataclass

from chimera.guards.injection.encodings import decoded
from chimera.guards.injection.fold import fold, origin, origins
from chimera.guards.injection.hiding import hidden

MAX_DEPTH = 3
MAX_VIEWS = 48
_LEAST = 6
_SPARE = 16_384
_GROWTH = 3
_SELECTORS = ((0xFE00, 0xFE0F, 0), (0xE0100, 0xE01EF, 16))


@dataclass(frozen=True, slots=True)
class View:
    """One reading of a text.

    ``name``: the steps that led to it, such as ``plain`` or ``plain>base64``. ``start`` and ``end``: the stretch of the
    original that it was read from. ``folded``: the original, if this is the fold of it; None when it was decoded.
    """

    name: str
    text: str
    start: int
    end: int
    folded: str | None = None

    def span(self, start: int, end: int) -> tuple[int, int]:
        """The stretch of the original behind a stretch of this view; the whole of it when it was decoded."""
        if self.folded is None:
            return self.start, self.end
        if self.folded == self.text:
            return self.start + start, self.start + end
        ends = origins(self.folded)
        return self.start + origin(ends, start), self.start + min(origin(ends, max(end - 1, 0)) + 1, len(ends))


def views(text: str) -> list[View]:
    """Every reading of ``text``, the plain one first.

    At most ``MAX_VIEWS``, ``MAX_DEPTH`` codes deep, and not more than a few times the length of the text altogether.
    Linear in the length. Never raises, lone surrogates and all.
    """
    found = [_plain(text)]
    left = _GROWTH * len(text) + _SPARE
    seen = {found[0].text}
    waiting = [(found[0], 0), *((view, 1) for view in _invisible(text))]
    found += [view for view, depth in waiting if depth]
    while waiting:
        view, depth = waiting.pop(0)
        if depth >= MAX_DEPTH:
            continue
        for name, (part, start, end) in _children(view.text):
            shown = fold(part)
            if len(shown) < _LEAST or shown in seen:
                continue
            if len(found) >= MAX_VIEWS or len(shown) > left:
                return found
            left -= len(shown)
            seen.add(shown)
            child = View(f"{view.name}>{name}", shown, *view.span(start, end))
            found.append(child)
            waiting.append((child, depth + 1))
    return found


def _children(text: str) -> Iterator[tuple[str, tuple[str, int, int]]]:
    yield from hidden(text)
    yield from decoded(text)


def _plain(text: str) -> View:
    return View("plain", fold(text), 0, len(text), text)


def _invisible(text: str) -> Iterator[View]:
    """Messages written in characters that are not shown: Unicode tags, and bytes as variation selectors."""
    if text.isascii():
        return
    tags = "".join(chr(ord(char) - 0xE0000) for char in text if 0xE0020 <= ord(char) <= 0xE007E)
    octets = bytes(
        ord(char) - low + base for char in text for low, high, base in _SELECTORS if low <= ord(char) <= high
    )
    for name, message in (("tags", tags), ("selectors", octets.decode("utf-8", "replace"))):
        if len(message) >= _LEAST:
            yield View(f"plain>{name}", fold(message), 0, len(text))
