"""JSON Schemas (2020-12) of tools, which strangers wrote: compiled without a network, checked with bounded work.

A schema of a few hundred bytes can keep a validator busy for ever (references that double at each level, regular
expressions that backtrack). So checking counts its steps, and leaves out what has no bounded form: ``pattern``,
``patternProperties``, the ``unevaluated`` keywords, and ``uniqueItems`` of long lists. Those are left to the server.
"""

import json
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any, cast

from jsonschema import Draft202012Validator, validators
from jsonschema.exceptions import SchemaError, ValidationError
from referencing import Registry, Resource
from referencing.exceptions import Unresolvable
from referencing.jsonschema import DRAFT202012

from chimera.tools.mesh.untrusted import one_line

SCHEMA_MAX_BYTES = 100_000
STEPS_MAX = 500_000
REFERENCE_STEPS = 20  # following one costs about as much as twenty plain checks
UNIQUE_MAX = 1_000
_TOO_COMPLEX = "the schema is too complex to check"
_Keyword = Callable[[Any, Any, Any, Any], Iterator[ValidationError] | None]
_left: ContextVar[list[int]] = ContextVar("steps left of the check under way")


class _Endless(Exception):
    """A check took more steps than an honest schema needs."""


def _counted(keyword: _Keyword, cost: int) -> _Keyword:
    def check(validator: Any, value: Any, instance: Any, schema: Any) -> Iterator[ValidationError] | None:
        steps = _left.get()
        steps[0] -= cost
        if steps[0] < 0:
            raise _Endless
        return keyword(validator, value, instance, schema)

    return check


def _unchecked(validator: Any, value: Any, instance: Any, schema: Any) -> None:
    """A keyword that is left to the server."""


_KEYWORDS: dict[str, _Keyword] = {
    name: _counted(check, REFERENCE_STEPS if name in ("$ref", "$dynamicRef") else 1)
    for name, check in Draft202012Validator.VALIDATORS.items()
}


def _additional(validator: Any, value: Any, instance: Any, schema: Any) -> Iterator[ValidationError] | None:
    if "patternProperties" in schema:
        return None
    return _KEYWORDS["additionalProperties"](validator, value, instance, schema)


def _unique(validator: Any, value: Any, instance: Any, schema: Any) -> Iterator[ValidationError] | None:
    if isinstance(instance, list) and len(cast("list[Any]", instance)) > UNIQUE_MAX:
        return None
    return _KEYWORDS["uniqueItems"](validator, value, instance, schema)


_NO_OTHERS: Registry[Any] = Registry()  # nothing but the schema itself, and no way to fetch
_Bounded: Any = validators.extend(
    Draft202012Validator,
    {
        **_KEYWORDS,
        **dict.fromkeys(("pattern", "patternProperties", "unevaluatedItems", "unevaluatedProperties"), _unchecked),
        "additionalProperties": _additional,
        "uniqueItems": _unique,
    },
)


def misfits(schema: dict[str, Any], value: Any, limit: int = 5) -> list[str]:
    """What is wrong with ``value``, at most ``limit`` one-line sentences; empty when it fits.

    A check that cannot be finished is a misfit too.
    """
    _left.set([STEPS_MAX])
    found: list[str] = []
    try:
        # Without its $schema: a part that names another draft would be checked by that draft's unbounded validator.
        for error in _Bounded(_undated(schema), registry=_NO_OTHERS).iter_errors(value):
            found.append(_sentence(error))
            if len(found) == limit:
                break
    except (_Endless, RecursionError):
        found.append(_TOO_COMPLEX)
    except Unresolvable as error:
        found.append(one_line(f"the schema refers to a part that is not there: {error.ref}"))
    return found


def _sentence(error: ValidationError) -> str:
    """What is wrong, by place and rule. The value itself stays out of it, for it may be a secret."""
    where = "/".join(str(part) for part in error.absolute_path)
    if error.validator in ("required", "additionalProperties"):  # these name properties only
        wrong = error.message
    else:
        wrong = f"does not fit {json.dumps({str(error.validator): error.validator_value})[:120]}"
    return one_line(f"{where}: {wrong}" if where else wrong)


def schema_problem(schema: dict[str, Any]) -> str | None:
    """Why a tool's schema cannot be used, or None."""
    if len(json.dumps(schema)) > SCHEMA_MAX_BYTES:
        return f"a schema is larger than {SCHEMA_MAX_BYTES:,} bytes"
    try:
        Draft202012Validator.check_schema(schema)
        resolver = _NO_OTHERS.resolver_with_root(Resource[Any](contents=schema, specification=DRAFT202012))
        for reference in _references(schema):
            if not reference.startswith("#"):
                return f"a schema refers to another document: {one_line(reference, 100)}"
            resolver.lookup(reference)
    except SchemaError as error:
        return f"a schema is not valid: {one_line(error.message)}"
    except Unresolvable as error:
        return f"a schema refers to a part that is not there: {one_line(error.ref, 100)}"
    except RecursionError:
        return "a schema is nested too deeply"
    return "a schema is too complex to check" if _TOO_COMPLEX in misfits(schema, {}) else None


def _undated(part: Any) -> Any:
    if isinstance(part, dict):
        return {
            key: _undated(value) for key, value in part.items() if not (key == "$schema" and isinstance(value, str))
        }
    return [_undated(item) for item in part] if isinstance(part, list) else part


def _references(part: Any) -> Iterator[str]:
    """Every reference in the schema, but not what only looks like one inside a constant."""
    if isinstance(part, list):
        for item in part:
            yield from _references(item)
    elif isinstance(part, dict):
        for key, value in part.items():
            if key in ("$ref", "$dynamicRef") and isinstance(value, str):
                yield value
            elif key not in ("const", "enum", "default", "examples"):
                yield from _references(value)
