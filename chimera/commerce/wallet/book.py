"""What the signer has signed, in a file of its own: each payment with one nonce, for good.

The database of the installation may be restored, rolled back or changed by somebody; a payment that was signed once
is then still the payment that was signed, and is never signed with a second nonce.
"""

import sqlite3
from dataclasses import dataclass
from pathlib import Path

from chimera.commerce.wallet.request import Gas

_TABLE = """
    CREATE TABLE IF NOT EXISTS signed (
        intent BLOB PRIMARY KEY, chain_id INTEGER NOT NULL, sender TEXT NOT NULL, nonce INTEGER NOT NULL,
        gas_limit TEXT NOT NULL, max_fee TEXT NOT NULL, priority TEXT NOT NULL, raw BLOB NOT NULL,
        expiry INTEGER NOT NULL
    ) STRICT
"""
_AUTHORIZED = """
    CREATE TABLE IF NOT EXISTS authorized (
        intent BLOB PRIMARY KEY, valid_before INTEGER NOT NULL, name TEXT NOT NULL, version TEXT NOT NULL
    ) STRICT
"""
_PUT = """
    INSERT INTO signed VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (intent) DO UPDATE SET
    gas_limit = excluded.gas_limit, max_fee = excluded.max_fee, priority = excluded.priority, raw = excluded.raw
"""


@dataclass(frozen=True)
class Entry:
    """A payment that was signed, by its digest; the newest transaction of it. ``expiry``: of its approval."""

    intent: bytes
    chain_id: int
    sender: str
    nonce: int
    gas: Gas
    raw: bytes
    expiry: int


class SignedBook:
    """Reads and writes that file. Whatever was written is on disk when :meth:`put` returns."""

    def __init__(self, file: Path) -> None:
        self._file = sqlite3.connect(file, isolation_level=None)
        self._file.execute("PRAGMA synchronous = FULL")
        self._file.execute(_TABLE)
        self._file.execute(_AUTHORIZED)
        self._file.execute("CREATE INDEX IF NOT EXISTS signed_nonces ON signed (chain_id, sender, nonce)")
        file.chmod(0o600)

    def get(self, intent: bytes) -> Entry | None:
        """What was signed for a payment."""
        row = self._file.execute(
            "SELECT chain_id, sender, nonce, gas_limit, max_fee, priority, raw, expiry FROM signed WHERE intent = ?",
            (intent,),
        ).fetchone()
        if row is None:
            return None
        chain_id, sender, nonce, limit, max_fee, priority, raw, expiry = row
        return Entry(intent, chain_id, sender, nonce, Gas(int(limit), int(max_fee), int(priority)), bytes(raw), expiry)

    def is_kept(self, chain_id: int, sender: str, nonce: int, now: float) -> bool:
        """Whether a nonce is that of a payment which can still come for what was signed for it.

        Its answer may have been lost, or the database rolled back. When its approval has expired, it does not come.
        """
        query = "SELECT 1 FROM signed WHERE chain_id = ? AND sender = ? AND nonce = ? AND expiry > ?"
        return self._file.execute(query, (chain_id, sender, nonce, now)).fetchone() is not None

    def put(self, entry: Entry) -> None:
        """Write down what is signed; a payment keeps its chain, sender and nonce whatever is written."""
        gas = entry.gas
        values = (entry.intent, entry.chain_id, entry.sender, entry.nonce)
        costs = (str(gas.limit), str(gas.max_fee), str(gas.priority), entry.raw, entry.expiry)
        self._file.execute(_PUT, (*values, *costs))

    def authorized(self, intent: bytes) -> tuple[int, str, str] | None:
        """The authorisation that was signed for a payment: until when it is good, and the token's name and version."""
        query = "SELECT valid_before, name, version FROM authorized WHERE intent = ?"
        row = self._file.execute(query, (intent,)).fetchone()
        return None if row is None else (int(row[0]), str(row[1]), str(row[2]))

    def put_authorized(self, intent: bytes, valid_before: int, name: str, version: str) -> None:
        """Write down the authorisation that is signed for a payment."""
        self._file.execute("INSERT INTO authorized VALUES (?, ?, ?, ?)", (intent, valid_before, name, version))

    def close(self) -> None:
        """Close the file."""
        self._file.close()
