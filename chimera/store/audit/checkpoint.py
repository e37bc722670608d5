"""A signed end of a chain, and what it takes to believe it. Needs no cryptography to be read."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, cast

from chimera.core.errors import AuditBroken, InputError
from chimera.store.audit.event import canonical

_PURPOSE = b"chimera audit checkpoint v1\n"
_FIELDS = ("tenant", "seq", "hash", "at", "key", "signature")


@dataclass(frozen=True)
class Checkpoint:
    """The end of a chain at some time, signed. ``key`` is the id of the key, ``signature`` is in hexadecimal."""

    tenant: str
    seq: int
    hash: str
    at: str
    key: str
    signature: str

    @property
    def message(self) -> bytes:
        """What is signed."""
        return message_of(self.tenant, self.seq, self.hash, self.at)

    def plain(self) -> dict[str, Any]:
        """The checkpoint as JSON data."""
        return {name: getattr(self, name) for name in _FIELDS}

    @classmethod
    def read(cls, data: object) -> "Checkpoint":
        """A checkpoint from what :meth:`plain` gave.

        Raises:
            InputError: it is none.
        """
        given = cast("Mapping[str, object]", data) if isinstance(data, Mapping) else {}
        seq, texts = given.get("seq"), [given.get(name) for name in _FIELDS if name != "seq"]
        if not isinstance(seq, int) or seq < 1 or not all(isinstance(text, str) for text in texts):
            raise InputError("this is no checkpoint of an audit chain")
        return cls(**{name: cast("Any", given[name]) for name in _FIELDS})


class Trusted(Protocol):
    """A public key that is believed."""

    @property
    def id(self) -> str:
        """What checkpoints name it by."""
        ...

    def signed(self, checkpoint: Checkpoint) -> bool:
        """Whether the checkpoint is signed with this key."""
        ...


def check_signature(checkpoint: Checkpoint, trusted: Iterable[Trusted]) -> None:
    """See that a trusted key signed it.

    Raises:
        AuditBroken: none did.
    """
    where = f"tenant {checkpoint.tenant}: the checkpoint of event {checkpoint.seq}"
    mine = [key for key in trusted if key.id == checkpoint.key]
    if not mine:
        raise AuditBroken(
            f"{where} is signed with the key {checkpoint.key[:16]!r}, which is not trusted here",
            remedy="If that key is yours, give its public half with --public-key as well.",
        )
    if not any(key.signed(checkpoint) for key in mine):
        raise AuditBroken(f"{where} has a signature that does not hold")


def message_of(tenant: str, seq: int, head: str, at: str) -> bytes:
    """The bytes that are signed for an end of a chain."""
    return _PURPOSE + canonical({"tenant": tenant, "seq": seq, "hash": head, "at": at}).encode("ascii")
