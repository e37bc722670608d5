"""JSON Schemas (2020-12) of tools, which strangers wrote: whether one can be used, and whether arguments fit one."""

import json
from collections.abc import Iterator, Mapping
from typing import Any, cast

from referencing import Resource
from referencing.exceptions import Unresolvable
from referencing.jsonschema import DRAFT202012

from chimera.core.fit import NO_OTHERS, TOO_COMPLEX, misfits, printable
from chimera.core.forms import plain_form
from chimera.core.jsonschemas import Draft202012Validator, SchemaError

SCHEMA_MAX_BYTES = 100_000
PROBLEMS_SHOWN = 5


def schema_problem(schema: dict[str, Any]) -> str | None:
    """Why a schema cannot be used, or None: it is too large, not valid, leads elsewhere, or cannot be checked."""
    if len(json.dumps(schema)) > SCHEMA_MAX_BYTES:
        return f"a schema is larger than {SCHEMA_MAX_BYTES:,} bytes"
    try:
        Draft202012Validator.check_schema(schema)
        resolver = NO_OTHERS.resolver_with_root(Resource[Any](contents=schema, specification=DRAFT202012))
        for reference in _references(schema):
            if not reference.startswith("#"):
                return f"a schema refers to another document: {printable(reference)}"
            resolver.lookup(reference)
    except SchemaError as error:
        return f"a schema is not valid: {printable(error.message, 300)}"
    except Unresolvable as error:
        return f"a schema refers to a part that is not there: {printable(error.ref)}"
    except RecursionError:
        return "a schema is nested too deeply"
    return TOO_COMPLEX if TOO_COMPLEX in misfits(schema, {}) else None


def argument_problems(schema: Mapping[str, Any], arguments: Mapping[str, Any]) -> list[str]:
    """Why a tool cannot be called with these arguments: the first few reasons, or none.

    An argument that the schema does not know is one, unless the schema says that it takes others.
    """
    whole = plain_form(schema, schema)
    unknown = sorted(set(arguments) - set(whole.get("properties") or {}))
    takes_others = whole.get("additionalProperties") or whole.get("patternProperties")
    strangers = [] if takes_others else [f"unknown argument {name[:60]!r}" for name in unknown]
    return [*strangers, *misfits(schema, dict(arguments))][:PROBLEMS_SHOWN]


def _references(part: Any) -> Iterator[str]:
    """Every reference in the schema, but not what only looks like one inside a constant."""
    if isinstance(part, list):
        for item in cast("list[Any]", part):
            yield from _references(item)
    elif isinstance(part, dict):
        for key, value in cast("dict[str, Any]", part).items():
            if key in ("$ref", "$dynamicRef") and isinstance(value, str):
                yield value
            elif key not in ("const", "enum", "default", "examples"):
                yield from _references(value)
