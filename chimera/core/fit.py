"""Whether a value fits a JSON Schema (2020-12) that a stranger wrote: checked with bounded work, and without a network.

A schema of a few hundred bytes can keep a validator busy for ever (references that double at each level, expressions
that backtrack) or send it to fetch an address. Here every keyword counts as a step, expressions share a deadline, and a
reference leads only into the schema itself. What cannot be finished or read does not fit. The ``unevaluated`` keywords
have no bounded form and are left to the tool's own server.
"""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from math import inf
from typing import Any, cast

import regex
from referencing import Registry
from referencing.exceptions import Unresolvable

from chimera.core.jsonschemas import Draft202012Validator, ValidationError, validators
from chimera.core.plainly import certainly_fits

STEPS_MAX = 500_000
REFERENCE_STEPS = 20  # following one costs about as much as twenty plain checks
CPU_S = 2.0
PATTERNS_S = 0.5  # all expressions of one check together; an honest one takes microseconds

TOO_COMPLEX = "the schema is too complex to check"

_Keyword = Callable[[Any, Any, Any, Any], Iterator[ValidationError] | None]
_NAMING = frozenset({"required", "additionalProperties", "dependentRequired"})  # their messages name properties only
_BOUNDS = frozenset(
    {"type", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minLength", "maxLength"}
    | {"minItems", "maxItems", "minProperties", "maxProperties"}
)
_ASCII = {"d": "0-9", "w": "A-Za-z0-9_"}
# ECMA 262, 22.2.2.9: \d and \w are ASCII; and $ is the end of the text alone, where Python's lets a line break follow.


@dataclass
class _Work:
    steps: int = STEPS_MAX
    cpu_until: float = inf  # set at the first look at the clock, which most checks are too short for
    seconds: float = PATTERNS_S

    def is_endless(self) -> bool:
        """Whether there are no steps left, or no time."""
        if self.steps < 0:
            return True
        if self.steps % 256:
            return False
        now = time.thread_time()
        self.cpu_until = min(self.cpu_until, now + CPU_S)
        return now > self.cpu_until


_work: ContextVar[_Work] = ContextVar("what is left of the work of the check under way")


class _Endless(Exception):
    """A check took more work than an honest schema needs."""


def misfit(schema: Mapping[str, Any], value: Any) -> str | None:
    """The first thing that is wrong with ``value``; None when it fits."""
    return next(iter(misfits(schema, value, 1)), None)


def misfits(schema: Mapping[str, Any], value: Any, limit: int = 5) -> list[str]:
    """What is wrong with ``value``: at most ``limit`` lines ``place violates keyword``; none when it fits.

    The value is never quoted: it is untrusted text on its way to a model and a log.
    """
    if certainly_fits(schema, value):
        return []
    _work.set(_Work())
    found: list[str] = []
    try:
        for error in islice(_validator(json.dumps(schema)).iter_errors(value), limit):
            found.append(_sentence(error))  # noqa: PERF401 - what was found before the check broke off counts
    except (_Endless, RecursionError):
        found.append(TOO_COMPLEX)
    except Unresolvable:
        found.append("the schema refers to a part that is not there")
    except regex.error:
        found.append("the schema has an expression that cannot be read")
    except (TypeError, ValueError, KeyError, AttributeError):  # a keyword whose value is not of its kind
        found.append("the schema is not valid")
    return found


def _sentence(error: ValidationError) -> str:
    where = printable("/".join(str(part) for part in error.absolute_path)) or "the whole"
    wrong = f"{where} violates {error.validator}"
    if error.validator in _NAMING:
        return f"{wrong}: {printable(error.message)}"
    return f"{wrong} {printable(json.dumps(error.validator_value))}" if error.validator in _BOUNDS else wrong


def printable(text: str, limit: int = 120) -> str:
    """The start of a stranger's text, on one line and without what steers a terminal."""
    return "".join(filter(str.isprintable, text[:limit]))


def fits(schema: Mapping[str, Any], value: Any) -> bool:
    """Whether ``value`` fits ``schema``."""
    return misfit(schema, value) is None


def matches(pattern: str, text: str) -> bool:
    """Whether ``pattern``, an expression of a JSON Schema, occurs in ``text``; False also when that takes too long."""
    _work.set(_Work())
    try:
        return _found(pattern, text)
    except (_Endless, regex.error):
        return False


def _found(pattern: str, text: str) -> bool:
    work = _work.get()
    started = time.perf_counter()
    try:
        found = regex.search(_translated(pattern), text, timeout=max(work.seconds, 0.001))
    except TimeoutError:
        raise _Endless from None
    work.seconds -= time.perf_counter() - started
    return found is not None


@lru_cache(maxsize=1_000)
def _translated(pattern: str) -> str:
    out: list[str] = []
    in_class = False
    place = 0
    while place < len(pattern):
        char = pattern[place]
        if char == "\\" and place + 1 < len(pattern):
            place += 1
            named = _ASCII.get(pattern[place].lower())
            if named and pattern[place].islower():
                out.append(named if in_class else f"[{named}]")
            elif named and not in_class:
                out.append(f"[^{named}]")
            else:
                out.append("\\" + pattern[place])
        elif char == "$" and not in_class:
            out.append(r"\Z")
        else:
            in_class = char == "[" or (in_class and char != "]")
            out.append(char)
        place += 1
    return "".join(out)


def _counted(keyword: _Keyword, cost: int) -> _Keyword:
    def check(validator: Any, value: Any, instance: Any, schema: Any) -> Iterator[ValidationError] | None:
        work = _work.get()
        work.steps -= cost
        if work.is_endless():
            raise _Endless
        return keyword(validator, value, instance, schema)

    return check


def _pattern(validator: Any, value: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
    if isinstance(instance, str) and not _found(value, instance):
        yield ValidationError("")


def _pattern_properties(validator: Any, value: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
    if isinstance(instance, dict):
        for pattern, part in value.items():
            for name, item in cast("dict[str, Any]", instance).items():
                if _found(pattern, name):
                    yield from validator.descend(item, part, path=name, schema_path=pattern)


def _additional(validator: Any, value: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
    if not isinstance(instance, dict):
        return
    known, patterns = schema.get("properties", {}), schema.get("patternProperties", {})
    for name, item in cast("dict[str, Any]", instance).items():
        if name in known or any(_found(pattern, name) for pattern in patterns):
            continue
        if value is False:
            yield ValidationError(f"{name!r} is unknown")
        elif isinstance(value, dict):
            yield from validator.descend(item, value, path=name)


def _unique(validator: Any, value: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
    if value and isinstance(instance, list):
        items = [json.dumps(item, sort_keys=True) for item in cast("list[Any]", instance)]
        if len(set(items)) < len(items):
            yield ValidationError("")


def _unchecked(validator: Any, value: Any, instance: Any, schema: Any) -> None:
    """A keyword that is left to the server."""


_OWN: dict[str, _Keyword] = {
    "pattern": _pattern,
    "patternProperties": _pattern_properties,
    "additionalProperties": _additional,
    "uniqueItems": _unique,
    "unevaluatedItems": _unchecked,
    "unevaluatedProperties": _unchecked,
}
NO_OTHERS: Registry[Any] = Registry()
"""What references lead into: nothing but the schema itself, and no way to fetch."""
_Bounded: Any = validators.extend(
    Draft202012Validator,
    {
        name: _counted(keyword, REFERENCE_STEPS if name in ("$ref", "$dynamicRef") else 1)
        for name, keyword in {**Draft202012Validator.VALIDATORS, **_OWN}.items()
    },
)


@lru_cache(maxsize=500)
def _validator(schema: str) -> Any:
    """The validator of a schema, as JSON, without its $schema: a part that names another draft would be checked by that
    draft's unbounded validator.
    """
    return _Bounded(_undated(json.loads(schema)), registry=NO_OTHERS)


def _undated(part: Any) -> Any:
    if isinstance(part, Mapping):
        given = cast("Mapping[str, Any]", part)
        return {
            key: _undated(value) for key, value in given.items() if not (key == "$schema" and isinstance(value, str))
        }
    return [_undated(item) for item in cast("list[Any]", part)] if isinstance(part, list) else part
