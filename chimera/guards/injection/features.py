"""What the classifier sees of a text: hashed n-grams of words and characters, cues and pairs of them, and rules.

Everything is arrays of indices and places; a place is the index of a character. The score of any stretch of the text is
then a difference of running sums. Several texts are looked at as one sheet, with a gap between them that nothing
reaches over: what a call of numpy costs by itself is then paid once for all of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

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
_CUE_BITS = 16
_GAP = "\n" * REPEAT_CHARS
"""Between two texts of a sheet: the end of a sentence, and too far away for anything to count as repeated."""

_Index = NDArray[np.int64]
_Hash = NDArray[np.uint64]
_A, _B, _C = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xC2B2AE3D27D4EB4F), np.uint64(0x165667B19E3779F9)
_FOREIGN = 128
"""What stands for all characters beyond ASCII where only the kind of a character counts."""


def _marking(some: bytes) -> bytes:
    """A table for ``bytes.translate``: 1 for some characters, 0 for all others."""
    return bytes(kind in some for kind in range(256))


_OF_WORDS = _marking(b"abcdefghijklmnopqrstuvwxyz0123456789'_-" + bytes([_FOREIGN]))
_ENDS = _marking(b".!?:;\n>*\"'(-|[]{}#")
_CAPITALS = _marking(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ")


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
    codes, kinds = _codes(lowered)
    hashed = _hashed(codes, kinds)
    starts, word_hashes = _words(kinds, hashed)
    owners = _owners(starts, spans)
    inside = _inside(len(lowered), spans)
    loud = _shouted(_codes(cased)[1], starts)
    return Features(
        texts=tuple(spans),
        chars=tuple(_news(*_char_grams(hashed, inside, size)) for size in CHAR_SIZES),
        words=tuple(_news(*_word_grams(starts, word_hashes, owners, size)) for size in WORD_SIZES),
        cues=_cues(kinds, loud, starts, word_hashes, owners),
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


def _codes(text: str) -> tuple[NDArray[Any], bytes]:
    """The code points of a text, and the same as bytes in which all beyond ASCII are one."""
    if text.isascii():
        kinds = text.encode("ascii")
        return np.frombuffer(kinds, dtype=np.uint8), kinds
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
    return codes, np.minimum(codes, _FOREIGN).astype(np.uint8).tobytes()


def _are(kinds: bytes, marking: bytes) -> NDArray[np.bool_]:
    """Which characters are marked."""
    return np.frombuffer(kinds.translate(marking), dtype=bool)


def _hashed(codes: NDArray[Any], kinds: bytes) -> _Hash:
    """A hash of each character, of which all digits have one and the same, and so have all blanks."""
    found = _character_hashes().take(np.frombuffer(kinds, dtype=np.uint8))
    if codes.dtype != np.uint8:
        foreign = (codes >= _FOREIGN).nonzero()[0]
        found[foreign] = _mix(codes[foreign].astype(np.uint64) + np.uint64(1))
    return found


@cache
def _character_hashes() -> _Hash:
    shown = np.arange(_FOREIGN + 1, dtype=np.uint64)
    shown[48:58], shown[[9, 10]] = 48, 32
    return _mix(shown + np.uint64(1))


def _mix(values: _Hash) -> _Hash:
    values = values * _A
    values ^= values >> np.uint64(29)
    values *= _B
    values ^= values >> np.uint64(32)
    return values


def _char_grams(hashed: _Hash, inside: NDArray[np.bool_], size: int) -> tuple[_Index, _Index]:
    count = len(hashed) - size + 1
    if count <= 0:
        return _nothing()
    total = np.full(count, size, dtype=np.uint64)
    for offset in range(size):
        total *= _C
        total += hashed[offset : offset + count]
    places = (inside[:count] & inside[size - 1 :]).nonzero()[0]
    return (_mix(total[places]) >> np.uint64(64 - CHAR_BITS)).view(np.int64), places


def _words(kinds: bytes, hashed: _Hash) -> tuple[_Index, _Hash]:
    """The places where words start, and a hash of each word.

    A hash is the sum of those of its characters, each times the power of its place in the word: a difference of running
    sums over the whole sheet, divided by the power of the place where the word starts.
    """
    inside = np.zeros(len(kinds) + 2, dtype=bool)
    inside[1:-1] = _are(kinds, _OF_WORDS)
    edges = (inside[1:] != inside[:-1]).nonzero()[0]
    starts, ends = edges[::2], edges[1::2]
    powers, inverse = _powers(len(kinds))
    sums = np.zeros(len(kinds) + 1, dtype=np.uint64)
    np.multiply(hashed, powers, out=sums[1:])
    np.cumsum(sums, out=sums)
    return starts, _mix((sums[ends] - sums[starts]) * inverse[starts])


@lru_cache(maxsize=2)
def _base_powers(bits: int) -> tuple[_Hash, _Hash]:
    """The powers of ``_C`` from the first on, and their inverses (modulo 2 to the 64th) from the zeroth on."""
    powers, inverse = np.full(1 << bits, _C), np.full(1 << bits, pow(int(_C), -1, 1 << 64), dtype=np.uint64)
    inverse[0] = 1
    return np.multiply.accumulate(powers), np.multiply.accumulate(inverse)


def _powers(length: int) -> tuple[_Hash, _Hash]:
    powers, inverse = _base_powers(max(17, length.bit_length()))
    return powers[:length], inverse


def _owners(starts: _Index, spans: Sequence[tuple[int, int]]) -> _Index:
    """The number of the text that each word is in."""
    first = starts.searchsorted([*(place for place, _ in spans), 1 << 62])
    return np.arange(len(spans)).repeat(first[1:] - first[:-1])


def _word_grams(starts: _Index, hashes: _Hash, owners: _Index, size: int) -> tuple[_Index, _Index]:
    count = len(starts) - size + 1
    if count <= 0:
        return _nothing()
    total = np.full(count, size, dtype=np.uint64)
    for offset in range(size):
        total *= _C
        total += hashes[offset : offset + count]
    whole = (owners[:count] == owners[size - 1 :]).nonzero()[0]
    return (_mix(total[whole]) >> np.uint64(64 - WORD_BITS)).view(np.int64), starts.take(whole)


def _news(index: _Index, place: _Index) -> tuple[_Index, _Index]:
    """The n-grams without those that stood a little before already: a dump of digits says one thing, not a hundred."""
    if len(index) < 2:
        return index, place
    # One sort of plain numbers, index before place, is several times as fast as an argsort that is stable.
    keys = index << 32
    keys |= place
    keys.sort()
    again = keys.take((keys[1:] - keys[:-1] < REPEAT_CHARS).nonzero()[0] + 1)
    again &= 0xFFFF_FFFF
    new = np.ones(int(place[-1]) + 1, dtype=bool)
    new[again] = False
    kept = new.take(place).nonzero()[0]
    return index.take(kept), place.take(kept)


@cache
def _cue_table() -> tuple[_Hash, _Index, NDArray[np.bool_]]:
    """Hashes of cue words in order, the cue of each (a word of two cues stands twice), and the hashes' first bits."""
    entries: list[tuple[int, int]] = []
    for cue, words in enumerate(load_cues().values()):
        for word in words:
            codes, kinds = _codes(word)
            entries.append((int(_words(kinds, _hashed(codes, kinds))[1][0]), cue))
    entries.sort()
    first_bits = np.zeros(1 << _CUE_BITS, dtype=bool)
    first_bits[[found >> (64 - _CUE_BITS) for found, _ in entries]] = True
    return (
        np.array([found for found, _ in entries], dtype=np.uint64),
        np.array([cue for _, cue in entries], dtype=np.int64),
        first_bits,
    )


def _cues(kinds: bytes, loud: _Index, starts: _Index, hashes: _Hash, owners: _Index) -> tuple[_Index, _Index]:
    if not len(starts):
        return _nothing()
    number = len(load_cues()) + 1
    word, cue = _cue_words(hashes, loud)
    ends = np.cumsum(_are(kinds, _ENDS), dtype=np.int32)
    ended = ends.take(starts)
    before = np.concatenate(([-1], ended[:-1])) < ended
    opening = before[word]
    left, right = _neighbours(word)
    first, second = word.take(left), word.take(right)
    near = (first < second) & (second - first <= PAIR_WORDS) & (owners.take(first) == owners.take(second))
    pair = near.nonzero()[0]
    left, right = left.take(pair), right.take(pair)
    index = np.concatenate((cue, cue[opening] + number, 2 * number + cue[left] * number + cue[right]))
    place = starts[np.concatenate((word, word[opening], word[left]))]
    order = np.argsort(place, kind="stable")
    return index[order], place[order]


def _neighbours(word: _Index) -> tuple[_Index, _Index]:
    """Each cue, by number, with each of the few that follow it."""
    left = np.repeat(np.arange(len(word)), _PAIR_STEPS)
    right = left + np.tile(np.arange(1, _PAIR_STEPS + 1), len(word))
    inside = right < len(word)
    return left[inside], right[inside]


def _cue_words(hashes: _Hash, loud: _Index) -> tuple[_Index, _Index]:
    """The words that are cues, by number and in order, and the cue of each; shouting is the last of the cues."""
    table, cue_of, first_bits = _cue_table()
    first = (hashes >> np.uint64(64 - _CUE_BITS)).view(np.int64)
    likely = first_bits.take(first).nonzero()[0]  # few are, and looking up is slow
    low, high = (table.searchsorted(hashes[likely], side) for side in ("left", "right"))
    words, cues = [loud], [np.full(len(loud), len(load_cues()), dtype=np.int64)]
    for step in range(int((high - low).max(initial=0))):
        some = low + step < high
        words.append(likely[some])
        cues.append(cue_of[low[some] + step])
    word, cue = np.concatenate(words), np.concatenate(cues)
    order = np.lexsort((cue, word))
    return word[order], cue[order]


def _shouted(kinds: bytes, starts: _Index) -> _Index:
    """The words that begin with four capitals."""
    capitals = np.zeros(len(kinds) + 4, dtype=bool)
    capitals[:-4] = _are(kinds, _CAPITALS)
    loud = capitals.take(starts).nonzero()[0]  # few words begin with even one
    places = starts.take(loud)
    return loud[capitals.take(places + 1) & capitals.take(places + 2) & capitals.take(places + 3)]


def _nothing() -> tuple[_Index, _Index]:
    return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
