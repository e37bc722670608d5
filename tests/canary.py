"""Looks for secrets in whatever was left behind, in every form in which one could have got there.

A key is found by either of its halves, so that one which was cut off is found too: as bytes, in hexadecimal digits of
both cases, in base64 of both alphabets at each of its three alignments, in base58, as a decimal number, as Python and
JSON write bytes, and as the words of BIP-39. A text, such as a passphrase, is found as it is and in the same codes.
"""

import base64
from pathlib import Path

import psycopg
from psycopg import sql

_BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_TABLES = """
    SELECT n.nspname AS schema, c.relname AS name FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p', 'm') AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')
"""


class Canaries:
    """Secrets by name, and the search for them."""

    def __init__(self) -> None:
        self._forms: dict[str, dict[str, bytes]] = {}

    def plant(self, name: str, secret: bytes | str) -> None:
        """Look for this from now on."""
        self._forms[name] = forms(secret)

    def found(self, hay: bytes, where: str) -> list[str]:
        """Which secrets are in some bytes, in which form."""
        lower = hay.lower()
        return [
            f"{name} as {form} in {where}"
            for name, known in self._forms.items()
            for form, needle in known.items()
            if needle in (lower if form.startswith("hex") else hay)
        ]

    def in_files(self, folder: Path, *but: Path) -> list[str]:
        """The secrets that are in the files below a folder, except in those that are theirs."""
        files = [path for path in sorted(folder.rglob("*")) if path.is_file() and path not in but]
        return [one for path in files for one in self.found(path.read_bytes(), str(path))]

    def in_database(self, url: str) -> list[str]:
        """The secrets that are in any table, as its bytes are and as they are written."""
        found: list[str] = []
        with psycopg.connect(url) as connection:
            for schema, name in connection.execute(_TABLES).fetchall():
                for form in ("binary", "text"):
                    query = sql.SQL("COPY (SELECT * FROM {}.{}) TO STDOUT (FORMAT {})")
                    asked = query.format(sql.Identifier(schema), sql.Identifier(name), sql.SQL(form))
                    with connection.cursor().copy(asked) as copy:
                        found += self.found(b"".join(bytes(part) for part in copy), f"table {name} ({form})")
        return found


def forms(secret: bytes | str) -> dict[str, bytes]:
    """What a secret looks like, wherever it has got to. Text is whole, bytes are in halves."""
    whole = secret.encode() if isinstance(secret, str) else secret
    half = len(whole) // 2
    parts = {"": whole} if isinstance(secret, str) else {" (1st half)": whole[:half], " (2nd half)": whole[half:]}
    made: dict[str, bytes] = {}
    for which, part in parts.items():
        made["bytes" + which] = part
        made["hex" + which] = part.hex().encode()
        made["escapes" + which] = repr(part)[2:-1].encode()
        made["numbers" + which] = str(list(part))[1:-1].encode()
        made["numbers, close" + which] = str(list(part))[1:-1].replace(" ", "").encode()
        for before in range(3):
            code = base64.b64encode(b"\0" * before + part)
            core = code[-(-before * 8 // 6) : (before + len(part)) * 8 // 6]
            made[f"base64 +{before}{which}"] = core
            made[f"base64 +{before}, of URLs{which}"] = core.replace(b"+", b"-").replace(b"/", b"_")
    made["base58"] = base58(whole).encode()
    if not isinstance(secret, str):
        made["a decimal number"] = str(int.from_bytes(whole, "big")).encode()
        made["words"] = words(whole).encode()
    return made


def base58(whole: bytes) -> str:
    """As Bitcoin writes numbers."""
    number, digits = int.from_bytes(whole, "big"), ""
    while number:
        number, rest = divmod(number, 58)
        digits = _BASE58[rest] + digits
    return digits


def words(entropy: bytes) -> str:
    """The words of BIP-39 for it."""
    from eth_account.hdaccount.mnemonic import Mnemonic
    from eth_account.types import Language

    return str(Mnemonic(Language.ENGLISH).to_mnemonic(entropy))
