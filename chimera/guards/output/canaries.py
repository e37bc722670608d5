"""Our own secrets by their values: what is configured here must not leave, however it is written."""

import base64
import hashlib
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import cast

from pydantic import BaseModel, SecretStr

from chimera.core.contracts import Decision, Threat
from chimera.guards.output.decode import views
from chimera.guards.output.finding import Context, Finding, Scanner
from chimera.guards.output.textguard import INLINE_CHARACTERS, MAX_DEPTH, TextGuard
from chimera.guards.request import GuardRequest
from chimera.guards.sanitize import visible

SHORTEST = 8
"""Values with fewer letters and digits are no secrets, and would be found everywhere."""

_ODD = re.compile(r"[\W_]+")
_ODD_ASCII = bytes(code for code in range(128) if not chr(code).isalnum())
_BYTE_MARK = re.compile(r"\\x|\\u00|0x", re.IGNORECASE)
_RUN = re.compile(r"\S+")
_WORD_START = re.compile(r"(?<![^\W_])[^\W_]")


@dataclass(frozen=True)
class CanaryDigest:
    """A secret that is known by its digest alone: SHA-256 of its UTF-8 bytes in hex, and its length in characters."""

    sha256: str
    length: int

    @classmethod
    def of(cls, value: str) -> "CanaryDigest":
        """The digest of a value."""
        return cls(hashlib.sha256(value.encode("utf-8", "replace")).hexdigest(), len(value))


class Canaries:
    """The secrets to look for.

    A value is found as it is, in any case, backwards, with anything but letters and digits put between its characters
    (hidden ones too), and in Base64, Base32, hexadecimal, percent and entity encoding, one in another. A digest is
    found where its value starts a word, as it is or encoded. Nothing of a value is kept in a readable form by ``repr``.
    """

    def __init__(self, secrets: Iterable[SecretStr | CanaryDigest]) -> None:
        self._needles: set[str] = set()
        self._digests: dict[int, set[str]] = {}
        for secret in secrets:
            if isinstance(secret, CanaryDigest):
                if secret.length >= SHORTEST:
                    self._digests.setdefault(secret.length, set()).add(secret.sha256.lower())
            else:
                self._needles |= {form for form in _forms(secret.get_secret_value()) if len(form) >= SHORTEST}

    def found_in(self, text: str) -> bool:
        """Whether one of the secrets is in the text. Linear in the length of the text."""
        nothing = not self._needles and not self._digests
        return not nothing and any(self._in_view(view) for view in views(visible(text)))

    def _in_view(self, view: str) -> bool:
        plain = _squeezed(view)
        if any(map(plain.__contains__, self._needles)) or any(self._digested(view)):
            return True
        bare = _BYTE_MARK.sub("", view) if "\\" in view or "0x" in view or "0X" in view else view
        return bare != view and any(needle in squeezed for squeezed in [_squeezed(bare)] for needle in self._needles)

    def _digested(self, view: str) -> Iterator[bool]:
        for length, digests in self._digests.items():
            for run in _RUN.finditer(view):
                for start in _WORD_START.finditer(view, run.start(), max(run.start(), run.end() - length + 1)):
                    part = view[start.start() : start.start() + length].encode("utf-8", "replace")
                    yield hashlib.sha256(part).hexdigest() in digests


class CanaryText(TextGuard):
    """None of our own secrets leaves, in any form. Reject, threat critical."""

    rule = "output.canary"

    def __init__(self, secrets: Iterable[SecretStr | CanaryDigest] = ()) -> None:
        self._canaries = Canaries(secrets)

    async def check(self, request: GuardRequest) -> Decision | None:
        """Reject a payload with one of the secrets in it."""
        return None if self._is_clear(request) else await super().check(request)

    def _is_clear(self, request: GuardRequest) -> bool:
        """Whether one look at all strings in a row says that none holds a secret; False says nothing.

        What a string would be found by stands in the row as well. But for two things, for which each is looked at: one
        absurd character reference leaves all references of its text as they are, and depth is not seen in a row.
        """
        if request.characters > INLINE_CHARACTERS:
            return False
        row = "\n".join(request.texts)
        nested = request.written.count("{") + request.written.count("[")
        return "&" not in row and nested <= MAX_DEPTH and not self._canaries.found_in(row)

    def scanner(self, context: Context) -> Scanner:
        """The same check for every request."""
        return lambda text: find_canaries(text, self._canaries)


def find_canaries(text: str, canaries: Canaries) -> list[Finding]:
    """One finding for the whole text when one of the secrets is in it."""
    if not canaries.found_in(text):
        return []
    return [Finding("secret.canary", "a secret of this installation", 0, len(text), "reject", Threat.CRITICAL)]


def secrets_of(*settings: BaseModel) -> list[SecretStr]:
    """Every secret value in settings, however deep, and the passwords of the addresses among them."""
    return [secret for model in settings for secret in _secrets(dict(model))]


def _secrets(value: object) -> Iterator[SecretStr]:
    match value:
        case SecretStr():
            yield value
            address = re.match(r"[a-z][a-z0-9+.-]*://[^/@\s]*:([^/@\s]+)@", value.get_secret_value())
            if address:
                yield SecretStr(address[1])
        case BaseModel():
            yield from _secrets(dict(value))
        case Mapping():
            yield from _secrets(list(cast("Mapping[object, object]", value).values()))
        case list() | tuple() | set():
            for item in cast("list[object]", value):
                yield from _secrets(item)
        case _:
            return


def _forms(value: str) -> Iterator[str]:
    """How a value can be written, squeezed. In Base64 and Base32 it has a core that its neighbours do not change."""
    plain = _squeezed(value)
    if len(plain) < SHORTEST:
        return
    yield plain
    yield plain[::-1]
    for data in dict.fromkeys((value.encode("utf-8", "replace"), value[::-1].encode("utf-8", "replace"))):
        yield data.hex()
        yield from (_squeezed(core) for core in _cores(data, base64.b64encode, 3, 4))
        yield from (_squeezed(core) for core in _cores(data, base64.b32encode, 5, 8))


def _cores(data: bytes, encode: Callable[[bytes], bytes], group: int, width: int) -> Iterator[str]:
    """The encoding of ``data`` behind 0 to ``group`` - 1 unknown bytes, without the characters that those decide.

    ``group`` bytes become ``width`` characters.
    """
    for before in range(group):
        whole = (before + len(data)) // group * group
        text = encode(bytes(before) + data[: whole - before]).decode()
        yield text[-(-before * width // group) :]


def _squeezed(text: str) -> str:
    if text.isascii():  # nearly every text, and nearly free
        return text.encode().translate(None, _ODD_ASCII).decode().lower()
    return _ODD.sub("", unicodedata.normalize("NFKC", text)).casefold()
