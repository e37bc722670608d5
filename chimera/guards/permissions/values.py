"""The values that a policy can compare: booleans, 64-bit integers, texts, sets, records and names of entities."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, cast

from chimera.core.errors import InputError

_INT_MIN, _INT_MAX = -(2**63), 2**63 - 1
_MAX_DEPTH = 16
_TYPE_NAME = re.compile(r"[A-Za-z_]\w*(?:::[A-Za-z_]\w*)*", re.ASCII)
_NAMES_KEPT = 10_000
_names: set[Any] = set()
"""Names of attributes that were found usable; there are few, and every request has the same."""
_keys: dict[tuple[str, frozenset["Uid"]], tuple[str, frozenset["Uid"]]] = {}


class Uid(NamedTuple):
    """The name of an entity. Two names are the same when type and id are, character by character."""

    type: str
    id: str

    def __str__(self) -> str:
        return f"{self.type}::{self.id}"

    def plain(self) -> dict[str, str]:
        """The name as Cedar's JSON writes it."""
        return {"type": self.type, "id": self.id}


class Entity:
    """A principal or a resource, as the server knows it.

    ``parents`` are what it is in (roles, pools), already flat: a parent has no parents of its own. Immutable by
    convention: tables remember what they found for it.

    Raises:
        InputError: Cedar could not read it, so no policy could be asked about it.
    """

    __slots__ = ("attributes", "key", "kind", "kinds", "parents", "roles", "uid", "within")

    def __init__(self, uid: Uid, attributes: Mapping[str, Any] | None = None, parents: Sequence[Uid] = ()) -> None:
        self.uid = uid
        self.kind = uid.type
        self.attributes: dict[str, Any] = dict(attributes or {})
        self.parents = frozenset(parents) - {uid}
        self.within = self.parents | {uid}
        self.kinds = frozenset(name.type for name in self.within)
        self.roles = frozenset(name.id for name in self.parents if name.type == f"{uid.type}Role")
        # One key object for all who are alike: rows are found by it, and the same object is compared at once.
        key = (uid.type, self.parents)
        self.key = _keys.setdefault(key, key) if len(_keys) < _NAMES_KEPT else key
        if not (is_usable(self.attributes) and all(_is_usable(name, 1) for name in self.within)):
            raise InputError(f"{uid.type[:60]} {uid.id[:60]!r} has a name or an attribute that no policy could read")

    def __repr__(self) -> str:
        return f"Entity({self.uid})"

    def plain(self) -> dict[str, Any]:
        """The entity as Cedar's JSON writes it."""
        return {
            "uid": self.uid.plain(),
            "attrs": as_cedar(self.attributes),
            "parents": [parent.plain() for parent in sorted(self.parents)],
        }


def is_usable(values: Mapping[str, Any]) -> bool:
    """Whether Cedar could read all of these attributes; it takes no float, no None and no half of a character."""
    if not (values.keys() <= _names or all(_is_name(name) for name in values)):
        return False
    for value in values.values():
        kind = type(value)
        if kind is str:
            if not (value.isascii() or _is_text(value)):
                return False
        elif kind is int:
            if not _INT_MIN <= value <= _INT_MAX:
                return False
        elif kind is not bool and not _is_usable(value, _MAX_DEPTH):
            return False
    return True


def is_same(left: Any, right: Any) -> bool:
    """Cedar's equality: values of different types are different, and a set has neither order nor repetition."""
    kind = type(left)
    if kind is list or kind is tuple:
        return type(right) in (list, tuple) and _contains_all(left, right) and _contains_all(right, left)
    if kind is not type(right):
        return False
    if kind is dict:
        return left.keys() == right.keys() and all(is_same(value, right[name]) for name, value in left.items())
    return bool(left == right)


def is_in(values: Sequence[Any], value: Any) -> bool:
    """Whether a set has a member."""
    return any(is_same(member, value) for member in values)


def as_cedar(value: Any) -> Any:
    """A value as Cedar's JSON writes it."""
    kind = type(value)
    if kind is Uid:
        return {"__entity": value.plain()}
    if kind is list or kind is tuple:
        return [as_cedar(item) for item in value]
    if kind is dict:
        return {name: as_cedar(item) for name, item in value.items()}
    return value


def _contains_all(values: Sequence[Any], wanted: Sequence[Any]) -> bool:
    return all(is_in(values, value) for value in wanted)


def _is_usable(value: Any, depth: int) -> bool:
    if depth == 0:
        return False
    kind = type(value)
    if kind is Uid:
        return _TYPE_NAME.fullmatch(value.type) is not None and _is_text(value.id)
    if kind is list or kind is tuple:
        return all(_is_member(item, depth) for item in cast("Sequence[Any]", value))
    if kind is dict:
        return all(
            _is_name(name) and _is_member(item, depth) for name, item in cast("Mapping[Any, Any]", value).items()
        )
    return False


def _is_member(value: Any, depth: int) -> bool:
    kind = type(value)
    if kind is bool:
        return True
    if kind is int:
        return _INT_MIN <= value <= _INT_MAX
    if kind is str:
        return _is_text(value)
    return _is_usable(value, depth - 1)


def _is_name(name: Any) -> bool:
    # Names with "__" are escapes of Cedar's JSON: what looks like one could be read as something else.
    if type(name) is not str or name.startswith("__") or not _is_text(name):
        return False
    if len(_names) < _NAMES_KEPT:
        _names.add(name)
    return True


def _is_text(value: str) -> bool:
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
