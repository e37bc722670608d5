"""The operators of policies as functions: each gives what Cedar gives, and raises where Cedar has no value."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from chimera.guards.permissions.values import Entity, Uid, is_in, is_same

Test = Callable[[Entity, Uid, Entity, Mapping[str, Any]], Any]
"""Principal, action, resource, context to a value. What Cedar calls an error raises :class:`Faulty` or KeyError."""


class Faulty(Exception):
    """An expression that has no value: a missing attribute, or an operand of the wrong type."""


def constant(value: Any) -> Test:
    """The value of a literal."""
    return lambda p, a, r, c: value


def attributes_of(value: Any, principal: Entity, resource: Entity) -> Mapping[str, Any] | None:
    """The attributes of a record, or of the two entities that a request is about; nothing is known of other ones."""
    kind = type(value)
    if kind is dict:
        return value
    if value == principal.uid and kind is Uid:
        return principal.attributes
    if value == resource.uid and kind is Uid:
        return resource.attributes
    if kind is Uid:
        return None
    raise Faulty


def uid_of(value: Any) -> Uid:
    """A value that is the name of an entity."""
    if type(value) is not Uid:
        raise Faulty
    return value


def checked(test: Test) -> Test:
    """What a test says, where anything but a boolean is an error."""

    def checked(p: Entity, a: Uid, r: Entity, c: Mapping[str, Any]) -> bool:
        found = test(p, a, r, c)
        if found is True or found is False:
            return found
        raise Faulty

    return checked


def every(parts: Sequence[Test]) -> Test:
    """``&&`` of several tests, in order."""
    if len(parts) == 1:
        return parts[0]

    def every(p: Entity, a: Uid, r: Entity, c: Mapping[str, Any]) -> bool:
        for part in parts:  # noqa: SIM110 - a generator would cost more than what it runs
            if not part(p, a, r, c):
                return False
        return True

    return every


def equal(left: Test, right: Test) -> Test:
    """``==``."""

    def equal(p: Entity, a: Uid, r: Entity, c: Mapping[str, Any]) -> bool:
        one, other = left(p, a, r, c), right(p, a, r, c)
        return one == other if type(one) is str and type(other) is str else is_same(one, other)

    return equal


def different(left: Test, right: Test) -> Test:
    """``!=``."""

    def different(p: Entity, a: Uid, r: Entity, c: Mapping[str, Any]) -> bool:
        one, other = left(p, a, r, c), right(p, a, r, c)
        return one != other if type(one) is str and type(other) is str else not is_same(one, other)

    return different


def ordered(compare: Callable[[int, int], bool], left: Test, right: Test) -> Test:
    """``<`` and its like, of numbers alone."""

    def ordered(p: Entity, a: Uid, r: Entity, c: Mapping[str, Any]) -> bool:
        one, other = left(p, a, r, c), right(p, a, r, c)
        if type(one) is not int or type(other) is not int:
            raise Faulty
        return compare(one, other)

    return ordered


def is_empty(test: Test) -> Test:
    """``isEmpty()``."""
    return lambda p, a, r, c: not _members(test(p, a, r, c))


def _members(value: Any) -> Sequence[Any]:
    if type(value) not in (list, tuple):
        raise Faulty
    return value


def one_of(texts: frozenset[str], right: Test) -> Test:
    """``[...].contains(x)`` of text literals."""

    def one_of(p: Entity, a: Uid, r: Entity, c: Mapping[str, Any]) -> bool:
        found = right(p, a, r, c)
        return type(found) is str and found in texts

    return one_of


def none_of(texts: frozenset[str], key: str) -> Test:
    """``![...].contains(context.x)`` of text literals."""

    def none_of(p: Entity, a: Uid, r: Entity, c: Mapping[str, Any]) -> bool:
        found = c[key]
        return type(found) is not str or found not in texts

    return none_of


def set_method(name: str, left: Test, right: Test) -> Test:
    """``contains``, ``containsAll`` and ``containsAny``."""

    def method(p: Entity, a: Uid, r: Entity, c: Mapping[str, Any]) -> bool:
        values, other = _members(left(p, a, r, c)), right(p, a, r, c)
        if name == "contains":
            return is_in(values, other)
        found = (is_in(values, item) for item in _members(other))
        return all(found) if name == "containsAll" else any(found)

    return method


def limited(compare: Callable[[int, int], bool], key: str, number: int) -> Test:
    """``context.x`` compared with a number, as one function."""

    def within_limit(p: Entity, a: Uid, r: Entity, c: Mapping[str, Any]) -> bool:
        value = c[key]
        if type(value) is not int:
            raise Faulty
        return compare(value, number)

    return within_limit


def other_than(mine: str, theirs: str) -> Test:
    """``principal.x != context.y``, the form of most memberships, as one function."""

    def is_other(p: Entity, a: Uid, r: Entity, c: Mapping[str, Any]) -> bool:
        one, other = p.attributes[mine], c[theirs]
        return one != other if type(one) is str and type(other) is str else not is_same(one, other)

    return is_other
