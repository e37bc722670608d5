"""The key of the record: Ed25519 signatures over the end of a chain.

Who can write to the database can compute a whole chain anew. What they cannot make is a signature of its end, as long
as the private key is not in the database. It is in a file, and in no log, state, error or table.
"""

import os
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from chimera.core.errors import InputError, SettingsInvalid
from chimera.core.ids import digest
from chimera.core.settings import Settings
from chimera.store.audit.checkpoint import Checkpoint, message_of

_OTHERS = 0o027


@dataclass(frozen=True)
class PublicKey:
    """What everybody may have: enough to check signatures, and nothing to make one."""

    key: Ed25519PublicKey

    @property
    def id(self) -> str:
        """The first 16 hexadecimal digits of the SHA-256 of the 32 bytes of the key."""
        raw = self.key.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
        return digest(raw)[:16]

    @property
    def pem(self) -> str:
        """The key as a PEM text."""
        found = self.key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        return found.decode("ascii")

    def signed(self, checkpoint: Checkpoint) -> bool:
        """Whether the checkpoint is signed with this key."""
        try:
            self.key.verify(bytes.fromhex(checkpoint.signature), checkpoint.message)
        except (InvalidSignature, ValueError):
            return False
        return True


class Signer:
    """Signs the ends of chains; ``every``: after how many events one is due."""

    def __init__(self, key: Ed25519PrivateKey, every: int) -> None:
        self._key = key
        self.every = every
        self.public_key = PublicKey(key.public_key())

    def sign(self, tenant: str, seq: int, head: str, at: str) -> Checkpoint:
        """The signed end of a tenant's chain."""
        signature = self._key.sign(message_of(tenant, seq, head, at)).hex()
        return Checkpoint(tenant=tenant, seq=seq, hash=head, at=at, key=self.public_key.id, signature=signature)


def load_signer(settings: Settings) -> Signer:
    """The key that the settings name, else the one in the data folder, which is made when it is not there.

    Blocking: reads and writes files.

    Raises:
        SettingsInvalid: there is no key in the file named, or others may read it.
    """
    path = key_path(settings)
    if settings.audit_key is None and not path.exists():
        _generate(path)
    return Signer(_read_private(path), settings.audit_checkpoint_every)


def own_key(settings: Settings) -> PublicKey | None:
    """The public half of the key of this installation; None where there is no key yet.

    Raises:
        SettingsInvalid: the file named has no key, or others may read it.
    """
    path = key_path(settings)
    if settings.audit_key is None and not path.exists():
        return None
    return PublicKey(_read_private(path).public_key())


def read_public_keys(paths: Iterable[Path]) -> list[PublicKey]:
    """The keys of PEM files.

    Raises:
        InputError: a file cannot be read, or holds no public Ed25519 key.
    """
    found: list[PublicKey] = []
    for path in paths:
        try:
            key = serialization.load_pem_public_key(path.expanduser().read_bytes())
        except (OSError, ValueError, UnsupportedAlgorithm) as error:
            why = getattr(error, "strerror", None) or "it holds no public key in PEM form"
            raise InputError(f"{path} cannot be used: {why}") from None
        if not isinstance(key, Ed25519PublicKey):
            raise InputError(f"{path} cannot be used: its key is not of the kind Ed25519")
        found.append(PublicKey(key))
    return found


def key_path(settings: Settings) -> Path:
    """Where the private key of this installation is."""
    return (settings.audit_key or settings.home / "audit" / "key.pem").expanduser()


def _generate(path: Path) -> None:
    """Make a key that only its owner can read, beside the public one; of two who do it at once, the first wins."""
    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle, draft = tempfile.mkstemp(dir=path.parent, prefix=".key-")  # mode 0600
        try:
            with os.fdopen(handle, "wb") as writing:
                writing.write(private)
                writing.flush()
                os.fsync(writing.fileno())
            os.link(draft, path)
        except FileExistsError:
            return
        finally:
            os.unlink(draft)
        path.with_suffix(".pub.pem").write_text(PublicKey(key.public_key()).pem, "ascii")
    except OSError as error:
        raise SettingsInvalid(f"the audit key {path} cannot be made: {error.strerror}") from None


def _read_private(path: Path) -> Ed25519PrivateKey:
    # Raised where nothing is being handled: a cause of the parser could quote what it read.
    key: object = None
    why = "it holds no private Ed25519 key in PEM form without a password"
    try:
        if os.name == "posix" and path.stat().st_mode & _OTHERS:
            why = "others may read or change it; `chmod 600` it"
        else:
            key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    except OSError as error:
        why = error.strerror or "it cannot be read"
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise SettingsInvalid(
            f"the audit key {path} cannot be used: {why}",
            remedy="`openssl genpkey -algorithm ed25519 -out key.pem` makes one; CHIMERA_AUDIT_KEY names it.",
        )
    return key
