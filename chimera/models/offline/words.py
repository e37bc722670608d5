"""What in a clause may be the value of an argument: quoted texts, places, numbers, names, the subject of a search."""

import re
from collections.abc import Sequence
from itertools import pairwise

from chimera.core.lexical import stems

_LITERAL = re.compile(r"""https?://[^\s"'<>]+|"([^"]{1,400})"|(?<!\w)'([^']{2,400})'(?!\w)|[^\s"',;]+""")
_NUMBER = re.compile(r"(?<![\w.,/:+-])-?\d+(?:\.\d+)?(?![\w/:]|[.,-]\d)")
_FILE = re.compile(r"[\w./-]*\w\.[A-Za-z]\w{0,7}")
_ROOTS = ("http://", "https://", "/", "./", "../", "~/")
_PUNCTUATION = re.compile(r"[^\w\s]|_")
_NAME = re.compile(r"(?<![\w./@-])[A-Z][\w'’-]*(?:\s+[A-Z][\w'’-]*)*(?![/@])")
_CALLED = re.compile(r"\b(?:called|named|titled)\s+([^\s\"',;]+)", re.IGNORECASE)
_SUBJECT = re.compile(r"(?:\b(?:for|about|on|regarding|concerning)|:)\s+([^,;:]+)", re.IGNORECASE)
_FROM = re.compile(r"\b(?:from|between|since)\s+$", re.IGNORECASE)
_TO = re.compile(r"\b(?:to|into|until|till|and)\s+$", re.IGNORECASE)
_TOKEN = re.compile(r"[^\W_][\w'’-]*|[^\w\s]")
_ASKING = re.compile(
    r"\A\W*(?:(?:then|now|also|please|kindly|(?:can|could|would|will) you|let's"
    r"|i(?: would|'d)? (?:want|need|like)(?: you)?(?: to)?)\b\W*)*",
    re.IGNORECASE,
)
# Words that end a phrase, besides those that carry no meaning at all.
_PHRASE_ENDS = frozenset(
    """
    about across after am among before below between called during into named near off onto over since than through
    titled toward towards under until via while within without
    """.split()  # noqa: SIM905 - readable as prose, unreadable one a line
)


def literals(clause: str) -> list[str]:
    """The words of a text that may be values: URLs, quoted texts without their quotes, and plain words."""
    return [match[1] or match[2] or match[0].rstrip(".!?:)") for match in _LITERAL.finditer(clause)]


def quoted(clause: str) -> list[str]:
    """The quoted texts, without their quotes."""
    return [match[1] or match[2] for match in _LITERAL.finditer(clause) if match[1] or match[2]]


def without(clause: str, words: Sequence[str]) -> str:
    """The clause with some of its words blanked."""
    for word in sorted(set(words), key=len, reverse=True):
        clause = clause.replace(word, " ")
    return clause


def is_place(word: str) -> bool:
    """Whether a word is written like a URL, a path or the name of a file."""
    return word.startswith(_ROOTS) or bool(_FILE.fullmatch(word))


def marks(word: str) -> list[str]:
    """The punctuation inside a word, which tells its kind: ``a/b``, ``14:30``, ``*.py``."""
    return _PUNCTUATION.findall(word)


def numbers(clause: str) -> list[tuple[str, frozenset[str]]]:
    """The plain numbers, each with the stems of the words around it: two before, two after."""
    found: list[tuple[str, frozenset[str]]] = []
    for match in _NUMBER.finditer(clause):
        before, after = clause[: match.start()][-80:].split()[-2:], clause[match.end() :][:80].split()[:2]
        found.append((match[0], frozenset(stems(" ".join([*before, *after])))))
    return found


def names(clause: str) -> list[str]:
    """Proper names: runs of capitalised words; the word that opens the clause is capitalised for being its first."""
    opening = len(clause) - len(clause.lstrip())
    found = [
        match[0].partition(" ")[2].strip() if match.start() == opening else match[0] for match in _NAME.finditer(clause)
    ]
    return [text for text in found if stems(text)]


def called(clause: str) -> list[str]:
    """The word after "called", "named" or "titled", if there is one."""
    match = _CALLED.search(clause)
    return [match[1].rstrip(".!?:)")] if match else []


def beside(nouns: Sequence[str], clause: str) -> list[str]:
    """The words right after one of ``nouns`` (stems), as "customers" in "the table customers"."""
    found: list[str] = []
    for before, word in pairwise(literals(clause)):
        said = (stems(before)[-1:] or [""])[0]
        # "user" speaks of a username too.
        meant = any(noun == said or (len(said) > 3 and noun.startswith(said)) for noun in nouns)
        if said and meant and stems(word):
            found.append(word)
    return found


def subject(clause: str) -> list[str]:
    """What a clause is about, if it says so: the words after "for", "about" or "on", or after a colon."""
    match = _SUBJECT.search(clause)
    text = match[1].strip(" .!?\"'") if match else ""
    return [text] if stems(text) else []


def asked_for(clause: str) -> tuple[str, str]:
    """The verb of an order, empty for a question, and the head of what is asked for, empty if it is not said.

    In "Tell me next week's lottery numbers" these are "Tell" and "numbers": what stands before the head only says which
    numbers are meant.
    """
    tokens = [token for token in _TOKEN.findall(_ASKING.sub("", clause)) if not token.isdigit()]
    phrases: list[list[str]] = [[]]
    for token in tokens:
        if stems(token) and token.lower() not in _PHRASE_ENDS:
            phrases[-1].append(token)
        elif phrases[-1]:
            phrases.append([])
    first, second = [*phrases, []][:2]
    if not tokens or not stems(tokens[0]):  # a question opens with a word that means nothing by itself
        return "", (first or [""])[-1]
    return first[0], (first[1:] or second or first)[-1]


def follows(clause: str, word: str, *, start: bool) -> bool:
    """Whether a word is named as a start ("from x") or as an end ("to x", "between w and x")."""
    place = clause.find(word)
    return place >= 0 and (_FROM if start else _TO).search(clause[max(0, place - 40) : place]) is not None
