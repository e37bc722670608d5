"""The terms of a post: repeated short values stay whole, free text is cut into words, in any language.

Links and bare numbers are no terms. Case does not count; a term is shown as it is most often written.
"""

import html
import re
import unicodedata
from collections.abc import Sequence

from chimera.tools.feeds.analysis.stopwords import STOP_WORDS
from chimera.tools.feeds.model import Column, Feed, Post

MAX_TERM = 100
MAX_TEXT = 20_000
"""Characters of one post that are cut into words."""

_LINK = re.compile(r"(?:https?://|www\.)\S+")
_WORD = re.compile(r"[#@]?[^\W_]\w*(?:['’.\-/][^\W_]\w*)*(?:\+\+|#)?")
_NUMBER = re.compile(r"[\d.,:/\-]+(?:st|nd|rd|th|am|pm|h|m|s|x|k)?")
# Scripts written without spaces between words; pairs of characters stand in for words there.
_UNSPACED = re.compile(r"[\u0e00-\u0e7f\u3040-\u30ff\u3400-\u9fff\U00020000-\U0003ffff]+")


class TermReader:
    """Cuts the posts of one feed into terms."""

    def __init__(self, columns: Sequence[Column]) -> None:
        self._topics = [column.name for column in columns if column.role == "topic"]
        self._texts = [column.name for column in columns if column.role == "text"]
        self.whole: set[str] = set()
        """Keys of the terms that are whole values of a column. They are topics however common they are."""

    @property
    def has_terms(self) -> bool:
        """Whether the feed has any column that terms can come from."""
        return bool(self._topics or self._texts)

    def read(self, post: Post) -> dict[str, str]:
        """The terms of ``post``, each once: its key, which is the same in any case, and how the post writes it."""
        found: dict[str, str] = {}
        for name in self._topics:
            value = post.fields.get(name, "").strip()
            if value and len(value) <= MAX_TERM and not _NUMBER.fullmatch(value):
                found.setdefault(fold(value), value)
        self.whole.update(found)
        for name in self._texts:
            for key, word in cut(post.fields.get(name, "")).items():
                found.setdefault(key, word)
        return found


def cut(text: str) -> dict[str, str]:
    """The words of a free text: key and first spelling. Hashtags and mentions keep their sign."""
    found: dict[str, str] = {}
    plain = unicodedata.normalize("NFKC", html.unescape(text[:MAX_TEXT]))
    for match in _WORD.finditer(_LINK.sub(" ", plain)):
        for word in _split_unspaced(match[0]):
            key = fold(word)
            if 2 <= len(key) <= MAX_TERM and key not in STOP_WORDS and not _NUMBER.fullmatch(key):
                found.setdefault(key, word)
    return found


def fold(term: str) -> str:
    """The key of a term: the same for every case and typographic apostrophe."""
    return term.casefold().replace("’", "'")


def mentions(keyword: str) -> "re.Pattern[str]":
    """A pattern that finds ``keyword`` as a whole word or phrase, in any case."""
    words = [re.escape(word) for word in keyword.split()]
    phrase = r"\s+".join(words)
    if not _UNSPACED.search(keyword):
        phrase = rf"(?<![^\W_]){phrase}(?![^\W_])"
    return re.compile(phrase, re.IGNORECASE)


def searchable(feed: Feed) -> list[str]:
    """The columns in which keywords are looked for: all that hold words."""
    return [column.name for column in feed.columns if column.role in ("text", "topic", "facet", "id")]


def _split_unspaced(word: str) -> list[str]:
    if not _UNSPACED.search(word) or word[0] in "#@":
        return [word]
    pieces: list[str] = []
    for run in _UNSPACED.findall(word):
        pieces += [run[i : i + 2] for i in range(len(run) - 1)] or [run]
    return pieces
