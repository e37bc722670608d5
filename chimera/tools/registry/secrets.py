"""Keeps secrets out of the registry: what must be the name of a variable is refused when it looks like a value.

This is about what people put into configuration files by habit. It looks at names first (``API_KEY`` has no value that
is no secret), then at the forms in which services write their keys, and last at randomness.
"""

import math
import re
from collections import Counter
from urllib.parse import parse_qsl, urlsplit

_NAMES = re.compile(
    r"(^|[_-])(api[_-]?key|key|token|secret|password|passwd|pwd|pass|credentials?|auth|authorization|cookie|private"
    r"|mnemonic|seed|signature|pat|dsn)([_-]|$)|apikey|accesstoken|clientsecret",
    re.IGNORECASE,
)
_FORMS = re.compile(
    r"\b(sk|pk|rk|whsec)_(live|test)_[0-9A-Za-z]{8,}|\bsk-[A-Za-z0-9_-]{16,}|\bgh[pousr]_[A-Za-z0-9]{20,}"
    r"|\bgithub_pat_\w{20,}|\bxox[abprs]-[A-Za-z0-9-]{10,}|\bAKIA[0-9A-Z]{16}\b|\bAIza[0-9A-Za-z_-]{30,}"
    r"|\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}|-----BEGIN [A-Z ]*PRIVATE KEY|\bhf_[A-Za-z0-9]{20,}"
    r"|\b0x[0-9a-fA-F]{64}\b|\b(Bearer|Basic)\s+[A-Za-z0-9._~+/=-]{12,}"
)
REFERENCE = re.compile(r"\$\{[A-Za-z_][A-Za-z0-9_]*(:-[^}]*)?\}")
_PLACEHOLDER = re.compile(
    r"<[^<>]*>|\[[^\[\]]*\]|\{\{.*\}\}|x{3,}|\.{3}|\*{3,}|.*\b(your|example|changeme|placeholder|here)\b.*"
)
_LONG, _BITS = 20, 3.6


def names_secret(name: str) -> bool:
    """Whether a variable or header of that name holds a secret."""
    return _NAMES.search(name) is not None


def looks_secret(text: str) -> bool:
    """Whether a text has the form of a key, or is one random word."""
    bare = REFERENCE.sub("", text)
    return _FORMS.search(bare) is not None or any(_random(word) for word in re.split(r"[\s,;=_/-]+", bare))


def _random(word: str) -> bool:
    if len(word) < _LONG or not re.fullmatch(r"[A-Za-z0-9+]+", word):
        return False
    if not (re.search(r"[0-9]", word) and re.search(r"[A-Za-z]", word)):
        return False
    return _entropy(word) >= _BITS


def _entropy(word: str) -> float:
    """Shannon entropy of the characters, in bits each."""
    counts = Counter(word)
    return -sum(n / len(word) * math.log2(n / len(word)) for n in counts.values())


def placeholder(value: str) -> bool:
    """Whether a value only stands where a real one is to be put, as catalogues write ``YOUR_API_KEY``."""
    spaced = re.sub(r"[_-]", " ", value.strip().lower())
    return not spaced or _PLACEHOLDER.fullmatch(spaced) is not None or _PLACEHOLDER.fullmatch(value.strip()) is not None


def value_problem(name: str, value: str, *, secret: bool = False) -> str | None:
    """Why a value of a variable or header cannot be kept; None when it can. The value is not quoted."""
    outside = REFERENCE.sub("", value)
    if "${" in outside:
        return f"{name}: a reference is written ${{NAME}}"
    defaults = [found for found in re.findall(r"\$\{\w+:-([^}]*)\}", value) if found]
    if not outside.strip() and not defaults:
        return None
    worded = re.fullmatch(r"\s*(bearer|basic|token)\s*", outside, re.IGNORECASE)
    if (secret or names_secret(name)) and (defaults or not worded):
        return f"{name} holds a secret; give the name of a variable instead: ${{{_variable(name)}}}"
    if looks_secret(outside) or any(map(looks_secret, defaults)):
        return f"{name}: the value looks like a secret; give the name of a variable instead: ${{{_variable(name)}}}"
    return None


def argument_problem(argument: str) -> str | None:
    """Why an argument of a command cannot be kept; None when it can."""
    flag, _, value = argument.partition("=")
    if value and names_secret(flag.lstrip("-")) and REFERENCE.sub("", value).strip() and not value.isdigit():
        return f"the argument {flag[:40]} holds a secret; write {flag[:40]}=${{{_variable(flag)}}}"
    if looks_secret(argument):
        return "an argument looks like a secret; write ${NAME} and set that variable"
    return address_problem(argument) if "://" in argument else None


def address_problem(address: str) -> str | None:
    """Why a URL cannot be kept; None when it can."""
    try:
        parts = urlsplit(address)
        if parts.password and REFERENCE.sub("", parts.password):
            return "the URL holds a password; write ${NAME} in its place"
        secret = [key for key, value in parse_qsl(parts.query) if names_secret(key) and REFERENCE.sub("", value)]
    except ValueError:
        return "it is no URL"
    if secret:
        return f"the URL's {secret[0][:40]} holds a secret; write ${{NAME}} in its place"
    return "the URL looks like it holds a secret; write ${NAME} in its place" if looks_secret(parts.query) else None


def _variable(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "_", name.lstrip("-")).strip("_").upper()[:60] or "NAME"
