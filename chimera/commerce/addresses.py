"""Addresses of the EVM: written with their checksum, and told apart from those that only look alike."""

import re
from collections.abc import Iterable, Iterator

from chimera.core.errors import ExtraMissing, InputError

_ADDRESS = re.compile(r"0x[0-9a-fA-F]{40}")
_SHAPES = ((2, 4), (3, 3), (4, 2))
"""How many characters of the beginning and of the end two addresses share that people take for the same."""
ZERO = "0x" + "0" * 40


def checked_address(text: str) -> str:
    """An address as it is, if it is one and its capitals are the checksum of EIP-55.

    Raises:
        InputError: it is none, has no checksum (all of one case), or another one. ExtraMissing: nothing can compute it.
    """
    if not _ADDRESS.fullmatch(text):
        raise InputError(f"{text[:60]!r} is no address", remedy="Write 0x and 40 hexadecimal digits, with checksum.")
    if checksummed(text) != text:
        lost = text[2:] in (text[2:].lower(), text[2:].upper())
        raise InputError(
            f"the address {text} has {'no checksum' if lost else 'a wrong checksum'} (EIP-55)",
            remedy="Copy it anew from its source, with its capitals; one mistyped character would be paid as well.",
        )
    if text == ZERO:
        raise InputError("nobody has the address zero", remedy="Name the payee.")
    return text


def checksummed(address: str) -> str:
    """An address with the capitals of EIP-55.

    Raises:
        ExtraMissing: what computes them is not installed.
    """
    try:
        from eth_utils.address import to_checksum_address
    except ImportError:
        raise ExtraMissing(
            "addresses of chains need the extra commerce", remedy="pip install 'chimera[commerce]'"
        ) from None
    return str(to_checksum_address(address))


class Lookalikes:
    """Finds addresses that begin and end like a known one and are another: by index, however many are known."""

    def __init__(self, known: Iterable[str]) -> None:
        self._known = {address.lower() for address in known}
        self._places: dict[tuple[int, str, str], str] = {}
        for address in sorted(self._known):
            for key in _keys(address):
                self._places.setdefault(key, address)

    def of(self, address: str) -> str | None:
        """The known address that this one looks like; None for a known one, and for one like none."""
        lower = address.lower()
        if lower in self._known or not _ADDRESS.fullmatch(address):
            return None
        return next((found for key in _keys(lower) if (found := self._places.get(key)) is not None), None)


def _keys(address: str) -> Iterator[tuple[int, str, str]]:
    digits = address[2:]
    for first, last in _SHAPES:
        yield first, digits[:first], digits[-last:]
