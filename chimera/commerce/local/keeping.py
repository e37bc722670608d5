"""Keeps the local chain on disk: whatever a block has written is there after any end of the process."""

import fcntl
import os
import sqlite3
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from chimera.core.errors import ConflictError, StoreUnavailable

if TYPE_CHECKING:
    from eth_tester import EthereumTester

    from chimera.commerce.chain.embedded import EmbeddedChain

_TABLE = "CREATE TABLE IF NOT EXISTS chain (key BLOB PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID"


@contextmanager
def alone(folder: Path) -> Generator[None]:
    """Hold the local chain of a folder, for this process.

    Raises:
        ConflictError: another process has it.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ConflictError(
                "another process has the local chain",
                remedy="Wait until it has ended, or configure a chain that many can use (docs/payments.md).",
            ) from None
        yield
    finally:
        os.close(descriptor)


class Kept:
    """The chain's key-value store in one SQLite file; :meth:`commit` makes what was written stay."""

    def __init__(self, place: Path) -> None:
        """Raises StoreUnavailable when the file cannot be used."""
        try:
            self._file = sqlite3.connect(place, check_same_thread=False, isolation_level=None)
            self._file.execute("PRAGMA synchronous = FULL")
            self._file.execute(_TABLE)
            self.values = {
                bytes(key): bytes(value) for key, value in self._file.execute("SELECT key, value FROM chain")
            }
        except sqlite3.Error as error:
            raise StoreUnavailable(f"the local chain cannot be kept: {error}") from None
        self._stored = dict(self.values)

    def commit(self) -> None:
        """Write what changed, in one transaction."""
        changed = [(key, value) for key, value in self.values.items() if self._stored.get(key) is not value]
        gone = [(key,) for key in self._stored.keys() - self.values.keys()]
        if not changed and not gone:
            return
        try:
            self._file.execute("BEGIN")
            self._file.executemany("INSERT OR REPLACE INTO chain VALUES (?, ?)", changed)
            self._file.executemany("DELETE FROM chain WHERE key = ?", gone)
            self._file.execute("COMMIT")
        except sqlite3.Error as error:
            raise StoreUnavailable(f"the local chain cannot be kept: {error}") from None
        self._stored = dict(self.values)

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def kept_chain(tester: "EthereumTester", kept: Kept) -> "EmbeddedChain":
    """The chain of a new EVM, gone on with from what was kept; what changes it is kept before it is answered."""
    from eth.db.atomic import AtomicDB
    from eth.db.backends.memory import MemoryDB

    from chimera.commerce.chain.embedded import chain_of

    backend = cast("Any", tester).backend
    if not kept.values:  # the genesis block
        kept.values.update(backend.chain.chaindb.db.wrapped_db.kv_store)
    backend.chain = type(backend.chain)(AtomicDB(MemoryDB(kept.values)))
    kept.commit()
    return chain_of(tester, kept.commit)
