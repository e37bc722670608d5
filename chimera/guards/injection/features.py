"""What the classifier sees of a text: hashed n-grams of words and characters, cues and pairs of them, and rules.

Everything is arrays of indices and places; a place is the index of a character. The score of any stretch of the text is
then a difference of running sums. Several texts are looked at as one sheet, with a gap between them that nothing
reaches over: what a call of numpy costs by itself is then paid once for all of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from chimera.guards.injection.rules import load_cues, load_rules, match_rules

CHAR_BITS = 18
WORD_BITS = 18
CHAR_SIZES = (4,)
WORD_SIZES = (1, 2)
PAIR_WORDS = 8
REPEAT_CHARS = 192
"""An n-gram that stood at most so many characters before does not count again."""

_PAIR_STEPS = 6
_GAP = "\n" * REPEAT_CHARS
"""Between two texts of a sheet: the end of a sentence, and too far away for anything to count as repeated."""

_Index = NDArray[np.int64]
_Hash = NDArray[np.uint64]
_A, _B, _C = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xC2B2AE3D27D4EB4F), np.uint64(0x165667B19E3779F9)
_ENDS = frozenset(".!?:;\n>*\"'(-|[]{}#")
_WORD_CODES = np.zeros(128, dtype=bool)
_WORD_CODES[[ord(char) for char in "abcdefghijklmnopqrstuvwxyz0123456789'_-"]] = True
_END_CODES = np.zeros(128, dtype=bool)
_END_CODES[[ord(char) for char in _ENDS]] = True


@dataclass(frozen=True, slots=True)
class Features:
    """The features of a sheet of texts.

    ``texts``: the place where each text starts, and its length. ``chars`` and ``words``: for each size the table
    indices and the places, sorted by place. ``cues``: indices below :func:`cue_count` with places. ``rules``: rule
    indices with places.
    """

    texts: tuple[tuple[int, int], ...]
    chars: tuple[tuple[_Index, _Index], ...]
    words: tuple[tuple[_Index, _Index], ...]
    cues: tuple[_Index, _Index]
    rules: tuple[_Index, _Index]


def features(texts: Sequence[str]) -> Features:
    """The features of folded texts, as one sheet. Linear in their length; never raises."""
    cased = _GAP.join(texts)
    lowered = _GAP.join(map(_lowered, texts))
    spans: list[tuple[int, int]] = []
    matches: list[tuple[int, int]] = []
    start = 0
    for text in texts:
        spans.append((start, len(text)))
        found = match_rules(lowered[start : start + len(text)])
        matches += sorted((start + match.start, match.rule) for match in found)
        start += len(text) + len(_GAP)
    codes = _codes(lowered)
    shown = np.where((codes >= 48) & (codes <= 57), 48, np.where((codes == 10) | (codes == 9), 32, codes))
    hashed = _mix(shown.astype(np.uint64) + np.uint64(1))
    starts, word_hashes = _words(shown, hashed)
    owners = np.searchsorted(np.array([place for place, _ in spans]), starts, "right")
    inside = _inside(len(lowered), spans)
    return Features(
        texts=tuple(spans),
        chars=tuple(_news(*_char_grams(hashed, inside, size)) for size in CHAR_SIZES),
        words=tuple(_news(*_word_grams(starts, word_hashes, owners, size)) for size in WORD_SIZES),
        cues=_cues(codes, _codes(cased), starts, word_hashes, owners),
        rules=(
            np.array([rule for _, rule in matches], dtype=np.int64),
            np.array([place for place, _ in matches], dtype=np.int64),
        ),
    )


def _lowered(text: str) -> str:
    lowered = text.lower()
    return lowered if len(lowered) == len(text) else text


def _inside(length: int, spans: Sequence[tuple[int, int]]) -> NDArray[np.bool_]:
    """Which characters of the sheet are of a text."""
    inside = np.zeros(length, dtype=bool)
    for start, size in spans:
        inside[start : start + size] = True
    return inside


def cue_count() -> int:
    """How many cue features there are: cues, cues at the start of a sentence, and ordered pairs of cues."""
    kinds = len(load_cues()) + 1
    return 2 * kinds + kinds * kinds


def rule_count() -> int:
    """How many rules there are."""
    return len(load_rules())


def _codes(text: str) -> NDArray[np.uint32]:
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)


def _mix(values: _Hash) -> _Hash:
    values = values * _A
    values ^= values >> np.uint64(29)
    values = values * _B
    return values ^ (values >> np.uint64(32))


def _char_grams(hashed: _Hash, inside: NDArray[np.bool_], size: int) -> tuple[_Index, _Index]:
    count = len(hashed) - size + 1
    if count <= 0:
        return _nothing()
    total = np.full(count, size, dtype=np.uint64)
    for offset in range(size):
        total = total * _C + hashed[offset : offset + count]
    places = np.flatnonzero(inside[:count] & inside[size - 1 :])
    return (_mix(total[places]) >> np.uint64(64 - CHAR_BITS)).astype(np.int64), places


def _words(codes: NDArray[np.uint32], hashed: _Hash) -> tuple[_Index, _Hash]:
    """The places where words start, and a hash of each word."""
    if not len(codes):
        return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.uint64)
    inside = np.where(codes < 128, _WORD_CODES[np.minimum(codes, 127)], True)
    edges = np.diff(inside.astype(np.int8), prepend=0, append=0)
    starts, ends = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)
    if not len(starts):
        return starts, np.zeros(0, dtype=np.uint64)
    owner = np.cumsum(edges[:-1] == 1) - 1
    powers = _powers(int((ends - starts).max()))
    places = np.flatnonzero(inside)
    terms = hashed[places] * powers[places - starts[owner[places]]]
    first = np.searchsorted(places, starts)
    return starts, _mix(np.add.reduceat(terms, first))


@cache
def _base_powers() -> _Hash:
    return np.multiply.accumulate(np.full(4096, _C, dtype=np.uint64))


def _powers(longest: int) -> _Hash:
    known = _base_powers()
    return known if longest <= len(known) else np.resize(known, longest)


def _word_grams(starts: _Index, hashes: _Hash, owners: _Index, size: int) -> tuple[_Index, _Index]:
    count = len(starts) - size + 1
    if count <= 0:
        return _nothing()
    total = np.full(count, size, dtype=np.uint64)
    for offset in range(size):
        total = total * _C + hashes[offset : offset + count]
    whole = np.flatnonzero(owners[:count] == owners[size - 1 :])
    return (_mix(total[whole]) >> np.uint64(64 - WORD_BITS)).astype(np.int64), starts[whole]


def _news(index: _Index, place: _Index) -> tuple[_Index, _Index]:
    """The n-grams without those that stood a little before already: a dump of digits says one thing, not a hundred."""
    if len(index) < 2:
        return index, place
    # One sort of plain numbers, index before number in the list, is several times as fast as an argsort that is stable.
    keys = np.sort((index << 32) | np.arange(len(index)))
    order, kinds = keys & 0xFFFF_FFFF, keys >> 32
    again = np.flatnonzero((kinds[1:] == kinds[:-1]) & (np.diff(place[order]) < REPEAT_CHARS)) + 1
    kept = np.ones(len(index), dtype=bool)
    kept[order[again]] = False
    return index[kept], place[kept]


@cache
def _cue_table() -> tuple[_Hash, _Index, int]:
    """Hashes of cue words in order, the cue of each (a word of two cues stands twice), and how many cues there are."""
    entries: list[tuple[int, int]] = []
    for cue, words in enumerate(load_cues().values()):
        for word in words:
            codes = _codes(word)
            shown = np.where((codes >= 48) & (codes <= 57), 48, codes)
            _, found = _words(shown, _mix(shown.astype(np.uint64) + np.uint64(1)))
            entries.append((int(found[0]), cue))
    entries.sort()
    return (
        np.array([found for found, _ in entries], dtype=np.uint64),
        np.array([cue for _, cue in entries], dtype=np.int64),
        len(load_cues()) + 1,
    )


def _cues(
    codes: NDArray[np.uint32], cased: NDArray[np.uint32], starts: _Index, hashes: _Hash, owners: _Index
) -> tuple[_Index, _Index]:
    if not len(starts):
        return _nothing()
    table, cue_of, kinds = _cue_table()
    low, high = np.searchsorted(table, hashes, "left"), np.searchsorted(table, hashes, "right")
    word_parts: list[_Index] = []
    cue_parts: list[_Index] = []
    for step in range(int((high - low).max(initial=0))):
        some = np.flatnonzero(low + step < high)
        word_parts.append(some)
        cue_parts.append(cue_of[low[some] + step])
    loud = _shouted(cased, starts)
    word_parts.append(loud)
    cue_parts.append(np.full(len(loud), kinds - 1, dtype=np.int64))
    word, cue = np.concatenate(word_parts), np.concatenate(cue_parts)
    order = np.argsort(word, kind="stable")
    word, cue = word[order], cue[order]
    ends = np.cumsum(np.where(codes < 128, _END_CODES[np.minimum(codes, 127)], False))
    before = np.concatenate(([-1], ends[starts[:-1]])) < ends[starts]
    opening = before[word]
    indices, places = [cue, cue[opening] + kinds], [starts[word], starts[word][opening]]
    for step in range(1, _PAIR_STEPS + 1):
        near = word[step:] - word[:-step]
        together = owners[word[step:]] == owners[word[:-step]]
        pair = np.flatnonzero((near > 0) & (near <= PAIR_WORDS) & together)
        indices.append(2 * kinds + cue[pair] * kinds + cue[pair + step])
        places.append(starts[word[pair]])
    index, place = np.concatenate(indices), np.concatenate(places)
    order = np.argsort(place, kind="stable")
    return index[order], place[order]


def _shouted(cased: NDArray[np.uint32], starts: _Index) -> _Index:
    """The words that begin with four capitals."""
    capitals = np.append((cased >= 65) & (cased <= 90), [False] * 4)
    return np.flatnonzero(capitals[starts] & capitals[starts + 1] & capitals[starts + 2] & capitals[starts + 3])


def _nothing() -> tuple[_Index, _Index]:
    return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
