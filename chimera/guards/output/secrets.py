"""Secrets by their form: key formats of a reviewed file, and tokens that look random."""

import re
from collections.abc import Iterator
from functools import cache

from chimera.core.contracts import Threat
from chimera.guards.output.decode import decoded_tokens
from chimera.guards.output.finding import Context, Finding, Scanner, Spans
from chimera.guards.output.randomness import is_base58check, is_token
from chimera.guards.output.secretrules import SecretRule, secret_rules
from chimera.guards.output.textguard import TextGuard

_TOKEN = re.compile(r"(?<![A-Za-z0-9+/=_-])[A-Za-z0-9+/_-]{24,}+={0,2}")
_URL = re.compile(r"(?i)(?<![a-z0-9])(?:https?|ftp|ipfs|git|wss?)://[^\s<>\"']{1,4000}+")
_PUBLIC = re.compile(
    r"-----BEGIN (?:CERTIFICATE|[A-Z ]{0,20}PUBLIC KEY|PGP SIGNATURE)[^-]{0,20}-----(?:[^-]|-(?!----)){0,20000}+"
)
_HARMLESS = re.compile(
    r"""[0-9a-fA-F]{24,}                # digests and ids of git; hexadecimal keys are found by what is said of them
      | 0x[0-9a-fA-F]{40,}                   # addresses and hashes of a chain
      | [0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}   # UUIDs
      | sha(?:1|256|384|512)-[A-Za-z0-9+/_-]{20,}={0,2}        # subresource integrity
      | AAAA[A-Z][A-Za-z0-9+/]{20,}={0,2}                      # public keys of SSH
      | Qm[1-9A-HJ-NP-Za-km-z]{44}                             # addresses of IPFS
    """,
    re.VERBOSE,
)
_LOWER = {
    code: code + 32 for code in range(ord("A"), ord("Z") + 1)
}  # keeps every place where it is, as lower() does not
_ENCODED_MIN = 16
_ADDRESS_MAX = 40
_TOKEN_MAX = 512
"""Longer runs are data, not keys: what they decode to is looked at instead."""


class SecretText(TextGuard):
    """No secret leaves: key formats, and tokens that look random. Edit, threat high."""

    rule = "output.secrets"

    def scanner(self, context: Context) -> Scanner:
        """The same check for every request."""
        return find_secrets


def find_secrets(text: str) -> list[Finding]:
    """Every secret that shows itself by its form. Linear in the length of the text."""
    found = [*_formats(text)]
    if max(map(len, text.split()), default=0) < _ENCODED_MIN:
        return found
    found += _encoded(text)
    return [*found, *_random_tokens(text, [(finding.start, finding.end) for finding in found])]


def _formats(text: str) -> Iterator[Finding]:
    small = text.translate(_LOWER)
    for rule in _hinted(small):
        for match in rule.pattern.finditer(small if rule.fold else text):
            group = next((name for name, value in match.groupdict().items() if value is not None), 0)
            start, end = match.span(group)
            if rule.holds(text[start:end]):
                yield _finding(f"secret.{rule.id}", rule.reason, start, end)


def _hinted(small: str) -> list[SecretRule]:
    """The rules of which a hint stands in the text: the others need not be tried."""
    hinted = {index for hint, index in _hints() if hint in small}
    rules = secret_rules()
    return [rules[index] for index in sorted(hinted)]


@cache
def _hints() -> tuple[tuple[str, int], ...]:
    return tuple((hint, index) for index, rule in enumerate(secret_rules()) for hint in rule.hints)


def _encoded(text: str) -> Iterator[Finding]:
    for start, end, plain in decoded_tokens(text):
        inner = next(_formats(plain), None)
        if inner is not None:
            yield _finding(inner.rule, f"{inner.reason}, encoded", start, end)


def _random_tokens(text: str, known: list[tuple[int, int]]) -> Iterator[Finding]:
    tokens = [token for token in _TOKEN.finditer(text) if _is_suspect(token.group())]
    if not tokens:
        return
    passed = Spans([*known, *(match.span() for pattern in (_URL, _PUBLIC) for match in pattern.finditer(text))])
    for token in tokens:
        start, end = token.span()
        fingerprint = text[max(0, start - 7) : start] == "SHA256:"
        if not fingerprint and not passed.touch(start, end):
            yield _finding("secret.random", "a token that looks random, as keys do", start, end)


def _is_suspect(token: str) -> bool:
    if len(token) > _TOKEN_MAX or not is_token(token) or _HARMLESS.fullmatch(token):
        return False
    return not (len(token) <= _ADDRESS_MAX and is_base58check(token))  # an address of Bitcoin; its keys are longer


def _finding(rule: str, reason: str, start: int, end: int) -> Finding:
    return Finding(rule, reason, start, end, threat=Threat.HIGH, instead=f"[secret removed: {rule}]")
