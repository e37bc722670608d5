"""JSON Schemas and their examples, taken from the specification files.

A schema names another one by its id, ``{"$ref": "MONEY"}``; beside it only annotations may stand. What this module
hands out has every reference replaced, so that it can be used on its own.
"""

import json
import re
from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from chimera.core.errors import SpecError
from chimera.core.specs.fences import Block, blocks, spec_files, specs_root

if TYPE_CHECKING:
    from jsonschema.protocols import Validator

ANNOTATIONS = frozenset({"title", "description", "default", "examples"})
_END = re.compile(r"(?<!\\)\$\Z")
_DATA = frozenset({"default", "examples", "enum", "const"})  # their content is a value, not a schema


@dataclass(frozen=True)
class Example:
    """A value from the specifications, and whether its schema has to accept it."""

    schema_id: str
    value: Any
    valid: bool
    block: Block


def schema_ids(root: Path | None = None) -> list[str]:
    """The ids of all schemas, in reading order."""
    return list(_schemas(root or specs_root()))


def schema(schema_id: str, root: Path | None = None) -> dict[str, Any]:
    """One schema, self-contained. The caller owns it.

    Raises:
        SpecError: there is no such schema, or a file is malformed.
    """
    found = _schemas(root or specs_root())
    if schema_id not in found:
        raise SpecError(f"no schema has the id {schema_id}")
    return deepcopy(found[schema_id])


def examples(root: Path | None = None) -> Iterator[Example]:
    """Every example of the specifications.

    Raises:
        SpecError: an example is not JSON, or of a schema that does not exist.
    """
    known = _schemas(root or specs_root())
    for block in _json_blocks(root or specs_root(), "example"):
        if block.value("of") not in known:
            block.fail(f"an example of an unknown schema {block.value('of')!r}")
        yield Example(block.value("of"), _parse(block), "invalid" not in block.words, block)


def problems(schema_id: str, value: Any, root: Path | None = None) -> list[str]:
    """Where ``value`` breaks the schema; empty when it fits. Fields are named, values are never quoted.

    Raises:
        SpecError: there is no such schema, or a file is malformed.
    """
    found = _validator(schema_id, root or specs_root()).iter_errors(value)
    return [_problem(error.json_path, error.validator, error.validator_value, error.message) for error in found]


def _problem(path: str, rule: object, limit: object, message: str) -> str:
    if rule == "required":  # names only the missing property
        return f"{path}: {message}"
    if rule == "pattern":
        limit = re.sub(r"\\Z\Z", "$", str(limit))
    return f"{path}: breaks {rule} {limit}" if isinstance(limit, (int, float, str)) else f"{path}: breaks {rule}"


@lru_cache(maxsize=256)
def _validator(schema_id: str, root: Path) -> "Validator":
    from jsonschema import Draft202012Validator  # lazy: only checking needs it

    return Draft202012Validator(_exact(schema(schema_id, root)))


def _exact(node: Any) -> Any:
    """A schema whose patterns mean in Python what they mean in JSON Schema: there no line break may follow ``$``."""
    if isinstance(node, list):
        return [_exact(item) for item in cast("list[Any]", node)]
    if not isinstance(node, dict):
        return node
    copied: dict[str, Any] = {}
    for key, value in cast("dict[str, Any]", node).items():
        match key:
            case "pattern" if isinstance(value, str):  # and not a property that is called so
                copied[key] = _END.sub(r"\\Z", value)
            case "patternProperties":
                copied[key] = {_END.sub(r"\\Z", name): _exact(part) for name, part in value.items()}
            case _:
                copied[key] = value if key in _DATA else _exact(value)
    return copied


@lru_cache(maxsize=32)
def _schemas(root: Path) -> dict[str, dict[str, Any]]:
    raw: dict[str, tuple[Block, Any]] = {}
    for block in _json_blocks(root, "schema"):
        name = block.value("id")
        if name in raw:
            block.fail(f"the schema {name} is already defined in line {raw[name][0].line}")
        raw[name] = (block, _parse(block))
        if not isinstance(raw[name][1], dict):
            block.fail("a schema is a JSON object")
    return {name: _inlined(value, raw, (name,)) for name, (_, value) in raw.items()}


def _inlined(node: Any, raw: Mapping[str, tuple[Block, Any]], trail: tuple[str, ...]) -> Any:
    """``node`` with every reference replaced; ``trail`` holds the ids on the way here, outermost first."""
    if isinstance(node, list):
        return [_inlined(item, raw, trail) for item in node]
    if not isinstance(node, dict):
        return node
    given = cast("dict[str, Any]", node)
    copied = {key: value if key in _DATA else _inlined(value, raw, trail) for key, value in given.items()}
    if "$ref" not in copied:
        return copied
    target = str(copied.pop("$ref"))
    block = raw[trail[0]][0]
    if target not in raw:
        block.fail(f"{trail[0]} refers to an unknown schema {target!r}")
    if target in trail:
        block.fail(f"{trail[0]} contains itself: {' > '.join((*trail, target))}")
    if not set(copied) <= ANNOTATIONS:
        block.fail(f"{trail[0]}: beside $ref only {', '.join(sorted(ANNOTATIONS))} may stand")
    return {**_inlined(raw[target][1], raw, (*trail, target)), **copied}


def _json_blocks(root: Path, kind: str) -> Iterator[Block]:
    for path in spec_files(root):
        yield from (block for block in blocks(path) if block.language == "json" and block.kind == kind)


def _parse(block: Block) -> Any:
    try:
        return json.loads(block.body, object_pairs_hook=_no_twins)
    except json.JSONDecodeError as error:
        block.fail(f"not JSON: {error.msg}", offset=error.lineno)
    except ValueError as error:
        block.fail(str(error))


def _no_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = [name for name, _ in pairs]
    if len(set(names)) < len(names):
        raise ValueError(f"a key stands twice in one object: {next(name for name in names if names.count(name) > 1)}")
    return dict(pairs)
