"""Whether a JSON Schema (2020-12) that a stranger wrote can be used at all."""

import json
from collections.abc import Iterator
from typing import Any, cast

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError
from referencing import Resource
from referencing.exceptions import Unresolvable
from referencing.jsonschema import DRAFT202012

from chimera.core.fit import NO_OTHERS, TOO_COMPLEX, misfits, printable

SCHEMA_MAX_BYTES = 100_000


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
