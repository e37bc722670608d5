"""Telling a random token from words, names and placeholders."""

import hashlib
import math
import re
from collections import Counter
from itertools import pairwise

_PLACEHOLDER = re.compile(
    r"your|example|placeholder|change|xxx|\*\*\*|\.\.\.|…|dummy|sample|redact|removed|insert|environ|getenv|\$|%[sd(]|[{}<>]",
    re.IGNORECASE,
)
_STOCK = frozenset(
    {
        "password",
        "pass",
        "passwd",
        "passphrase",
        "pw",
        "pwd",
        "secret",
        "user",
        "username",
        "token",
        "key",
        "admin",
        "root",
        "test",
        "guest",
        "postgres",
        "mysql",
        "redis",
        "none",
        "null",
        "true",
        "false",
        "default",
        "empty",
        "unset",
        "env",
        "bearer",
        "basic",
        "api",
        "apikey",
    }
)
_APART = re.compile(r"[-_./:;,+=~@#|]+")
_WORDS = re.compile(r"(?:[A-Z]?[a-z]{2,}+\d{0,5}+|[A-Z]{2,}+\d{0,5}+|\d{1,12}+|[A-Za-z])")
_ALPHABET = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_VALUES = {char: value for value, char in enumerate(_ALPHABET)}
_CHANGES = 0.4
"""Random Base64 changes between lower case, upper case and digits at 0.64 of its places, names with capitals at 0.3."""


def is_placeholder(value: str) -> bool:
    """Whether a value only stands for a secret, as documentation writes it."""
    return value.casefold().strip("-_.") in _STOCK or bool(_PLACEHOLDER.search(value)) or len(set(value)) < 4


def is_wordy(value: str) -> bool:
    """Whether a value is words, names and numbers, put together as people and programs do it."""
    return all(_is_words(part) for part in _APART.split(value) if part)


def is_random(value: str) -> bool:
    """Whether a value that is called a secret can be one: no placeholder, no words, a letter and a digit at least."""
    return (
        any(char.isdigit() for char in value)
        and any(char.isalpha() for char in value)
        and "://" not in value
        and not is_placeholder(value)
        and not is_wordy(value)
    )


def is_token(value: str) -> bool:
    """Whether a value has the entropy of a random token, from its form alone; meant for 24 characters and more."""
    classes = [_kind(char) for char in value]
    counts = Counter(classes)
    if counts["lower"] < 2 or counts["upper"] < 2 or counts["digit"] < 1:
        return False
    changes = sum(one != other for one, other in pairwise(classes))
    return changes >= _CHANGES * (len(value) - 1) and entropy(value) >= 3.5 and not is_wordy(value)


def entropy(value: str) -> float:
    """Shannon's entropy of the characters, in bits per character."""
    size = len(value)
    return -sum(count / size * math.log2(count / size) for count in Counter(value).values()) if size else 0.0


def is_base58check(value: str) -> bool:
    """Whether a value carries its own checksum in the way of Bitcoin's addresses and keys (Base58Check)."""
    if not value or len(value) > 120 or any(char not in _VALUES for char in value):
        return False
    number = 0
    for char in value:
        number = number * 58 + _VALUES[char]
    data = bytes(len(value) - len(value.lstrip("1"))) + number.to_bytes((number.bit_length() + 7) // 8)
    return len(data) > 4 and _checksum(data[:-4]) == data[-4:]


def base58check(data: bytes) -> str:
    """Base58Check of ``data``."""
    whole = data + _checksum(data)
    number, text = int.from_bytes(whole), ""
    while number:
        number, rest = divmod(number, 58)
        text = _ALPHABET[rest] + text
    return "1" * (len(whole) - len(whole.lstrip(b"\0"))) + text


def _checksum(data: bytes) -> bytes:
    return hashlib.sha256(hashlib.sha256(data).digest()).digest()[:4]


def _is_words(part: str) -> bool:
    """Whether words stand side by side: ``SecurityGateway2``, ``IMG20261123``. One long match, without going back."""
    at = 0
    pieces = 0
    while at < len(part):
        found = _WORDS.match(part, at)
        if found is None:
            return False
        at, pieces = found.end(), pieces + 1
    return pieces <= 1 + len(part) // 4


def _kind(char: str) -> str:
    return "digit" if char.isdigit() else "upper" if char.isupper() else "lower" if char.islower() else "other"
