"""Keys: the port that signs hashes inside of the signer's process, and keys of our own from one encrypted secret.

A service or device that keeps keys (a KMS, an HSM) implements :class:`Keys` and is given to the signer instead of
:class:`LocalKeys`. Nothing outside of the signer's process can ask either: the signer's protocol has no call for a
hash.
"""

import hashlib
import json
import os
import secrets
from pathlib import Path
from typing import Any, Protocol

from chimera.core.errors import ConfigError, SignerRefused

_KDF = "scrypt"
_SECRET_BYTES = 32
_PART_BITS = 31


class Keys(Protocol):
    """Whoever has the keys. One wallet for each agent of each tenant, always the same one."""

    def address(self, tenant: str, agent: str) -> str:
        """The address of an agent's wallet, with its checksum."""
        ...

    def sign(self, tenant: str, agent: str, transaction: dict[str, Any]) -> bytes:
        """The raw transaction, signed; ``transaction`` is one of type 2, with all of its fields."""
        ...

    def sign_typed(self, tenant: str, agent: str, data: dict[str, Any]) -> bytes:
        """The signature (r, s, v) under typed data that the signer made."""
        ...


class LocalKeys:
    """Keys that are derived (BIP-32, hardened) from one secret, which is a keystore file of version 3 on disk.

    The path of a wallet is made of SHA-256 of its tenant and agent, so the secret alone brings all wallets back.
    """

    def __init__(self, secret: bytes) -> None:
        self.__secret = secret
        self.__keys: dict[tuple[str, str], Any] = {}

    def __repr__(self) -> str:
        return "LocalKeys(...)"

    def __reduce__(self) -> str:
        raise SignerRefused("keys are not copied")

    def address(self, tenant: str, agent: str) -> str:
        """The address of an agent's wallet, with its checksum."""
        return str(self._account(tenant, agent).address)

    def sign(self, tenant: str, agent: str, transaction: dict[str, Any]) -> bytes:
        """The raw transaction, signed."""
        return bytes(self._account(tenant, agent).sign_transaction(transaction).raw_transaction)

    def sign_typed(self, tenant: str, agent: str, data: dict[str, Any]) -> bytes:
        """The signature (r, s, v) under typed data that the signer made."""
        from eth_account.messages import encode_typed_data

        said = encode_typed_data(full_message=data)
        return bytes(self._account(tenant, agent).sign_message(said).signature)

    def _account(self, tenant: str, agent: str) -> Any:
        from eth_account import Account
        from eth_account.hdaccount import key_from_seed

        place = (tenant, agent)
        if place not in self.__keys:
            self.__keys[place] = Account.from_key(key_from_seed(self.__secret, path_of(tenant, agent)))
        return self.__keys[place]


def path_of(tenant: str, agent: str) -> str:
    """Where a wallet is derived: three hardened steps of 31 bits below m/44'/60'."""
    length = len(tenant.encode()).to_bytes(4, "big")
    number = int.from_bytes(hashlib.sha256(length + tenant.encode() + agent.encode()).digest(), "big")
    parts = [(number >> (_PART_BITS * place)) & (2**_PART_BITS - 1) for place in range(3)]
    return "m/44'/60'" + "".join(f"/{part}'" for part in parts)


def make_keystore(file: Path, passphrase: str, *, iterations: int | None = None) -> None:
    """Write a new secret to a file that is there for its owner alone. ``iterations``: of scrypt; less only in tests.

    Raises:
        ConfigError: the file is there already, or cannot be written; the passphrase is empty.
    """
    from eth_account import Account

    if not passphrase:
        raise ConfigError("a keystore needs a passphrase")
    kept = Account.encrypt(secrets.token_bytes(_SECRET_BYTES), passphrase, kdf=_KDF, iterations=iterations)
    kept.pop("address", None)
    try:
        number = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(number, "w") as stream:
            json.dump(kept, stream)
            stream.flush()
            os.fsync(stream.fileno())
    except OSError as error:
        raise ConfigError(f"the keystore {file.name} cannot be made: {error.strerror}") from None


def open_keystore(file: Path, passphrase: str) -> LocalKeys:
    """The keys of a keystore.

    Raises:
        ConfigError: others may read the file, it is no keystore, or the passphrase is another one.
    """
    from eth_account import Account

    try:
        if file.stat().st_mode & 0o077:
            raise ConfigError(f"others may read the keystore {file.name}", remedy="chmod 600 it, and ask who did.")
        kept = json.loads(file.read_text())
    except (OSError, ValueError) as error:
        raise ConfigError(f"the keystore {file.name} cannot be read: {type(error).__name__}") from None
    try:
        return LocalKeys(bytes(Account.decrypt(kept, passphrase)))
    except Exception as error:  # noqa: BLE001 - its message may hold parts of the file, and a cause would show them
        raise ConfigError(f"the keystore {file.name} does not open: {type(error).__name__}") from None
