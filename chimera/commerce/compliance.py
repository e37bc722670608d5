"""Lists of addresses that must not be paid: sanctions and known scams, from files, with their age and their hash.

Read are the formats of public lists: a text file with an address a line, a JSON array of addresses, and CSV with a
column of addresses. How old a list is, is said in the file ``DATED`` of its folder, a day as YYYY-MM-DD; the time of a
file says when it was copied. Where nothing is said, a list counts as too old.
"""

import csv
import io
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any, cast

from chimera.core.errors import ListStale

DATED = "DATED"
LARGEST = 100 * 1024 * 1024
_COLUMNS = ("address", "banned_address", "contract_address", "contract_creator")
_NAMED = re.compile(r"[0-9A-Za-z:._-]{20,120}")


@dataclass(frozen=True)
class Lists:
    """Addresses that must not be paid, each with the file that names it. ``dated``: the oldest day of their folders."""

    found: Mapping[str, str]
    digest: str
    dated: date | None
    files: Sequence[str] = field(default_factory=tuple[str, ...])

    def names(self, address: str) -> str | None:
        """The file that names an address; None if none does."""
        return self.found.get(_key(address))

    def age_days(self, now: datetime) -> int | None:
        """How old it is; None if nothing says so. One from tomorrow is as good as none."""
        if self.dated is None or self.dated > now.astimezone(UTC).date():
            return None
        return (now.astimezone(UTC).date() - self.dated).days


def load_lists(*folders: Path) -> Lists:
    """All lists of some folders; reads files.

    Raises:
        ListStale: a folder has no list, or one cannot be read in full: with half a list, nobody would be stopped.
    """
    found: dict[str, str] = {}
    hashed, files, days = sha256(), list[str](), list[date | None]()
    for folder in folders:
        paths = sorted(path for path in folder.glob("*") if path.suffix in (".txt", ".csv", ".json"))
        if not paths:
            raise ListStale(f"{folder.name} has no list")
        for path in paths:
            raw = _read(path)
            hashed.update(b"%d:%s%d:%s" % (len(path.name), path.name.encode(), len(raw), raw))
            files.append(f"{folder.name}/{path.name}")
            entries = list(_entries(path, raw))
            if not entries:
                raise ListStale(f"{folder.name}/{path.name} names nobody")
            for entry in entries:
                found.setdefault(_key(entry), files[-1])
        days.append(_dated(folder / DATED))
    known = [day for day in days if day is not None]
    dated = min(known) if known and len(known) == len(days) else None
    return Lists(found, hashed.hexdigest(), dated, tuple(files))


class Compliance:
    """What the lists say at a moment, and whether they may be trusted by then."""

    def __init__(self, lists: Lists | None, *, most_days: int, production: bool) -> None:
        self.lists = lists
        self._most_days = most_days
        self._production = production

    def trusted(self, now: datetime) -> str:
        """What makes the lists less than they should be, in words; empty when nothing does.

        Raises:
            ListStale: in production, they are missing or too old.
        """
        age = self.lists.age_days(now) if self.lists else None
        if age is not None and age <= self._most_days:
            return ""
        what = "there are no lists" if self.lists is None else "nothing says how old the lists are"
        if age is not None:
            what = f"the lists are {age} days old, and at most {self._most_days} are allowed"
        if self._production:
            raise ListStale(what)
        return what

    def told(self) -> dict[str, Any]:
        """The lists as they go on the record with each decision."""
        if self.lists is None:
            return {"lists": "", "dated": None, "entries": 0}
        dated = self.lists.dated.isoformat() if self.lists.dated else None
        return {"lists": self.lists.digest, "dated": dated, "entries": len(self.lists.found)}


def _read(path: Path) -> bytes:
    try:
        if path.stat().st_size > LARGEST:
            raise ListStale(f"{path.name} is larger than a list can be")
        return path.read_bytes()
    except OSError as error:
        raise ListStale(f"{path.name} cannot be read: {type(error).__name__}") from None


def _dated(path: Path) -> date | None:
    if not path.is_file():
        return None
    try:
        return date.fromisoformat(path.read_text("ascii").strip())
    except (OSError, ValueError):
        raise ListStale(f"{path.parent.name}/{path.name} is no day as YYYY-MM-DD") from None


def _entries(path: Path, raw: bytes) -> Iterator[str]:
    try:
        text = raw.decode("utf-8")
        match path.suffix:
            case ".txt":
                given: list[object] = [line.strip() for line in text.splitlines() if line.strip()]
            case ".json":
                loaded = json.loads(text)
                if not isinstance(loaded, list):
                    raise ListStale(f"{path.name} is no array of addresses")
                given = cast("list[object]", loaded)
            case _:
                given = list(_columns(path, text))
    except (ValueError, csv.Error) as error:
        raise ListStale(f"{path.name} cannot be read: {type(error).__name__}") from None
    for entry in given:
        if not isinstance(entry, str) or not _NAMED.fullmatch(entry):
            raise ListStale(f"{path.name} has an entry that is no address: {str(entry)[:40]!r}")
        yield entry


def _columns(path: Path, text: str) -> Iterator[str]:
    rows = csv.DictReader(io.StringIO(text, newline=""))
    named = [name for name in rows.fieldnames or () if name in _COLUMNS]
    if not named:
        raise ListStale(f"{path.name} has no column of addresses")
    for row in rows:
        first, *others = (str(row[name] or "").strip() for name in named)
        yield first
        yield from (other for other in others if other)


def _key(address: str) -> str:
    return address.lower() if address[:2] in ("0x", "0X") else address
