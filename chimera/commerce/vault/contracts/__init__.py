"""The contracts' sources (Vyper) and what they compile to, as data; calls and deployments are encoded from that."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

from chimera.core.errors import ConfigError, ExtraMissing

SOURCES = ("SpendVault", "PaidToken")
_HERE = Path(__file__).parent
BUILT = _HERE / "built.json"


@dataclass(frozen=True)
class Built:
    """A compiled contract. ``source``: SHA-256 of its source; ``bytecode``: what deploys it, as 0x and digits."""

    name: str
    source: str
    compiler: str
    abi: list[dict[str, Any]]
    bytecode: str

    def plain(self) -> dict[str, Any]:
        """The contract as JSON data."""
        return asdict(self)

    def call(self, function: str, *arguments: Any) -> bytes:
        """The data of a call.

        Raises:
            ConfigError: there is no such function, or the arguments are not its.
        """
        entry = self._entry("function", function)
        types = _types(entry["inputs"])
        selector = keccak(f"{function}({','.join(types)})".encode())[:4]
        return selector + _encode(types, arguments)

    def answer(self, function: str, data: bytes) -> Any:
        """What a call answered: its value, or a tuple of several.

        Raises:
            ConfigError: that is no answer of the function.
        """
        types = _types(self._entry("function", function)["outputs"])
        try:
            values = _abi().decode(types, data)
        except Exception as error:  # noqa: BLE001 - eth-abi raises errors of many kinds for bytes of others
            raise ConfigError(f"{self.name}.{function} answered something else: {error}") from None
        return values[0] if len(values) == 1 else values

    def creation(self, *arguments: Any) -> bytes:
        """The data of the transaction that deploys it."""
        types = [kind for each in self.abi if each["type"] == "constructor" for kind in _types(each["inputs"])]
        return bytes.fromhex(self.bytecode.removeprefix("0x")) + _encode(types, arguments)

    def topic(self, event: str) -> bytes:
        """The first topic of an event's logs."""
        return keccak(f"{event}({','.join(_types(self._entry('event', event)['inputs']))})".encode())

    def _entry(self, kind: str, name: str) -> dict[str, Any]:
        for entry in self.abi:
            if entry["type"] == kind and entry["name"] == name:
                return entry
        raise ConfigError(f"{self.name} has no {kind} {name}")


@cache
def built(name: str) -> Built:
    """A contract as it is shipped.

    Raises:
        ConfigError: there is none of that name.
    """
    for found in json.loads(BUILT.read_text("utf-8")):
        if found["name"] == name:
            return Built(**found)
    raise ConfigError(f"there is no contract {name}")


def source_of(name: str) -> str:
    """The source of a contract."""
    return (_HERE / f"{name}.vy").read_text("utf-8")


def keccak(data: bytes) -> bytes:
    """Keccak-256, as the EVM has it.

    Raises:
        ExtraMissing: the packages for chains are not installed.
    """
    try:
        from eth_utils.crypto import keccak as found
    except ImportError:
        raise _missing() from None
    return bytes(found(data))


def _abi() -> Any:
    try:
        import eth_abi.abi
    except ImportError:
        raise _missing() from None
    return eth_abi.abi


def _missing() -> ExtraMissing:
    return ExtraMissing("payments on a chain need the extra `commerce`", remedy="pip install 'chimera-swarm[commerce]'")


def _encode(types: Sequence[str], arguments: Sequence[Any]) -> bytes:
    if len(types) != len(arguments):
        raise ConfigError(f"{len(arguments)} arguments for {len(types)}")
    try:
        return bytes(_abi().encode(types, arguments))
    except ExtraMissing:
        raise
    except Exception as error:  # noqa: BLE001 - eth-abi raises errors of many kinds for values that do not fit
        raise ConfigError(f"a value cannot be encoded: {error}") from None


def _types(inputs: Sequence[dict[str, Any]]) -> list[str]:
    return [_type(each) for each in inputs]


def _type(entry: dict[str, Any]) -> str:
    kind = str(entry["type"])
    if kind.startswith("tuple"):
        return f"({','.join(_types(entry['components']))}){kind.removeprefix('tuple')}"
    return kind
