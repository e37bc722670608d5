"""Each pydantic model and its schema in the specifications describe the same values.

Proves TR-1, TR-2, TR-3, TR-6 and TR-7. Structure: the rules of both are equal, defaults included, and changing one rule
in a copy of the specifications is noticed. Samples: what one accepts the other accepts, for values made from either
description and for values broken in one place.
"""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError
from pydantic_core import to_jsonable_python

from chimera.core import contracts as c
from chimera.core import specs
from chimera.core.contracts import Contract
from chimera.core.money import Money
from chimera.core.specs.compare import differences
from chimera.tools.capability import Capability, ToolResult

MODELS: dict[str, type[Any]] = {
    "MONEY": Money,
    "BUDGET": c.Budget,
    "MISSION": c.Mission,
    "CRITERION": c.Criterion,
    "TASK": c.Task,
    "PLAN": c.Plan,
    "TEAM_BRIEF": c.TeamBrief,
    "SPLIT": c.Split,
    "EVIDENCE": c.Evidence,
    "USAGE": c.Usage,
    "ARTIFACT": c.Artifact,
    "OBSERVATION": c.Observation,
    "TASK_RESULT": c.TaskResult,
    "MISSION_RESULT": c.MissionResult,
    "DECISION": c.Decision,
    "CHECK": c.Check,
    "VERDICT": c.Verdict,
    "REVIEW_ITEM": c.ReviewItem,
    "REVIEW_DECISION": c.ReviewDecision,
    "EVENT": c.Event,
    "CAPABILITY": Capability,
    "TOOL_RESULT": ToolResult,
}
ADAPTERS: dict[str, TypeAdapter[Any]] = {name: TypeAdapter(model) for name, model in MODELS.items()}
WITHOUT_MODEL = {"ERROR", "AUDIT_BODY", "TREND_ANALYSIS.input", "TREND_ANALYSIS.output"}
"""Schemas of values that no pydantic model describes; their own tests check them."""

SAMPLES = settings(
    max_examples=20,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=12)
ANYTHING: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | TEXT,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(TEXT, inner, max_size=2),
    max_leaves=4,
)


# --- structure ---------------------------------------------------------------------------------------------------


def disagreements(root: Path | None = None) -> list[str]:
    """Every rule and every default that only a schema, or only its model, has."""
    found: list[str] = []
    for schema_id, model in MODELS.items():
        ours, theirs = specs.schema(schema_id, root), ADAPTERS[schema_id].json_schema()
        found += [f"{schema_id}{line}" for line in differences(ours, theirs)]
        stated = {name: part["default"] for name, part in ours.get("properties", {}).items() if "default" in part}
        if stated != defaults(model):
            found.append(f"{schema_id}: defaults {stated} in spec, {defaults(model)} in code")
    return found


def defaults(model: type[Any]) -> dict[str, Any]:
    return {
        name: to_jsonable_python(field.get_default(call_default_factory=True, validated_data={}))
        for name, field in model.model_fields.items()
        if not field.is_required()
    }


def test_schemas_and_models_have_the_same_rules() -> None:
    assert disagreements() == []


def test_every_contract_has_a_schema_and_every_schema_a_model() -> None:
    contracts = {
        kind
        for kind in vars(c).values()
        if isinstance(kind, type) and issubclass(kind, Contract) and kind is not Contract
    }
    assert contracts <= set(MODELS.values()), "give the new contract a schema in specs/technical.md"
    assert set(specs.schema_ids()) == set(MODELS) | WITHOUT_MODEL


MUTATIONS = {
    "a limit of text": ('"maxLength": 8000}', '"maxLength": 8001}', "MISSION/properties/goal/maxLength"),
    "a bound": ('"maximum": 86400', '"maximum": 3600', "MISSION/properties/deadline_s/maximum"),
    "an open bound closed": (
        '"exclusiveMinimum": 0,\n      "maximum": 86400',
        '"minimum": 0,\n      "maximum": 86400',
        "",
    ),
    "a word of an enum gone": ('["approve", "retry", "escalate"]', '["approve", "retry"]', "VERDICT"),
    "a word of an enum more": ('["done", "failed"]', '["done", "failed", "late"]', "TASK_RESULT"),
    "a field required no more": ('"required": ["id", "text", "source"]', '"required": ["id", "text"]', "EVIDENCE"),
    "one more field required": ('"required": ["goal"]', '"required": ["goal", "tenant"]', "MISSION/required/tenant"),
    "a field renamed": ('"tokens_out": {', '"tokens_made": {', "USAGE/properties/tokens_made"),
    "another type": ('"passed": {"type": "boolean"}', '"passed": {"type": "string"}', "CHECK/properties/passed/type"),
    "null refused": ('"type": ["integer", "null"]', '"type": "integer"', "BUDGET/properties/tokens"),
    "another pattern": ('"^t[0-9]{1,4}$"', '"^t[0-9]{1,5}$"', "TASK/properties/id/pattern"),
    "another default": ('"default": "USD"', '"default": "EUR"', "MONEY: defaults"),
    "opened to unknown fields": (
        '"additionalProperties": false,\n  "required": ["outcome", "confidence"]',
        '"required": ["outcome", "confidence"]',
        "VERDICT/additionalProperties",
    ),
    "an empty list allowed": ('"minItems": 1, "maxItems": 100', '"maxItems": 100', "SPLIT/properties/teams/minItems"),
    "another part": ('"items": {"$ref": "CHECK"}', '"items": {"$ref": "CRITERION"}', "VERDICT/properties/checks"),
    "an open map": (
        '{"type": "string"}},\n      "additionalProperties": false',
        '{"type": "string"}},\n      "additionalProperties": true',
        "MISSION/properties/inputs/additionalProperties",
    ),
}


@pytest.mark.parametrize("name", MUTATIONS)
def test_one_changed_rule_is_noticed(name: str, tmp_path: Path) -> None:
    old, new, where = MUTATIONS[name]
    root = Path(shutil.copytree(specs.specs_root(), tmp_path / "specs"))
    text = (root / "technical.md").read_text("utf-8")
    assert old in text, "the mutation has nothing to change: adapt it to the specification"
    (root / "technical.md").write_text(text.replace(old, new, 1), "utf-8")
    found = disagreements(root)
    assert found
    assert any(where in line for line in found), found


def test_two_ways_to_write_a_rule_are_one() -> None:
    left = {"type": ["integer", "null"], "minimum": 0, "title": "Tokens", "default": None}
    right = {"anyOf": [{"type": "null"}, {"type": "integer", "minimum": 0.0}]}
    assert differences(left, right) == []
    assert differences({"const": "a", "type": "string"}, {"enum": ["a"]}) == []
    assert differences({"type": "object", "additionalProperties": True}, {"type": "object"}) == []
    assert differences({"$ref": "#/$defs/A", "$defs": {"A": {"type": "null"}}}, {"type": "null"}) == []


# --- samples -----------------------------------------------------------------------------------------------------


def branch(schema: dict[str, Any]) -> list[dict[str, Any]]:
    """The alternatives of a schema; itself when there are none."""
    if isinstance(schema.get("type"), list):
        return [{**schema, "type": kind} for kind in schema["type"]]
    return schema.get("anyOf", [schema])


def fitting(schema: dict[str, Any], *, full: bool = False) -> st.SearchStrategy[Any]:
    """Values that a schema of our dialect accepts, mostly short ones; ``full`` leaves nothing out that may be there."""
    alternatives = branch(schema)
    if len(alternatives) > 1:
        wanted = [part for part in alternatives if not full or part.get("type") != "null"]
        return st.one_of(*(fitting(part, full=full) for part in wanted))
    part = alternatives[0]
    if "enum" in part:
        return st.sampled_from(part["enum"])
    match part.get("type"):
        case "null":
            return st.none()
        case "boolean":
            return st.booleans()
        case "integer":
            return st.integers(part.get("minimum", -9), part.get("maximum", 10**6))
        case "number":
            low, most = part.get("minimum", part.get("exclusiveMinimum")), part.get("maximum")
            return st.floats(low, most, allow_nan=False, allow_infinity=False, exclude_min="exclusiveMinimum" in part)
        case "string" if "pattern" in part:
            return whole(part["pattern"])
        case "string":
            least, most = part.get("minLength", 0), part.get("maxLength", 10**9)
            return TEXT.filter(lambda text: least <= len(text) <= most)
        case "array":
            least = max(part.get("minItems", 0), int(full))
            return st.lists(fitting(part.get("items", {}), full=full), min_size=least, max_size=least + 1)
        case "object":
            return fitting_object(part, full=full)
        case _:
            return ANYTHING


def fitting_object(schema: dict[str, Any], *, full: bool) -> st.SearchStrategy[Any]:
    if "properties" in schema:
        parts = {name: fitting(part, full=full) for name, part in schema["properties"].items()}
        required = {name: part for name, part in parts.items() if full or name in schema.get("required", [])}
        return st.fixed_dictionaries(required, optional={name: parts[name] for name in parts.keys() - required.keys()})
    keys, values = TEXT, schema.get("additionalProperties", {})
    for pattern, part in schema.get("patternProperties", {}).items():
        keys, values = whole(pattern), part
    content = fitting(cast("dict[str, Any]", values), full=full) if isinstance(values, dict) else ANYTHING
    return st.dictionaries(keys, content, min_size=int(full), max_size=2)


def whole(pattern: str) -> st.SearchStrategy[str]:
    return st.from_regex(pattern.removesuffix("$") + r"\Z")


def nudges(schema: dict[str, Any], value: Any) -> list[Any]:
    """Values at and beyond each bound of a schema, around a value that fits it; most of them break exactly one rule."""
    found: list[Any] = [None, True, 7, 1.5, -1, "", "text", " lead", "line\n", [], {}, [None], {"x": 1}]
    for part in branch(schema):
        for bound in (part.get(name) for name in ("minimum", "exclusiveMinimum", "maximum")):
            found += [] if bound is None else [int(bound) - 1, int(bound), int(bound) + 1, bound + 0.5]
        for length in (part.get(name) for name in ("minLength", "maxLength")):
            found += [] if length is None else ["x" * max(0, length + step) for step in (-1, 0, 1)]
        found += [word.upper() for word in part.get("enum", [])]
        if "pattern" in part and isinstance(value, str):
            found += [value + "\n", value + " ", "\n" + value, value * 40, value.swapcase(), value + "é"]
        if "maxItems" in part and isinstance(value, list) and value:
            found += [(value * part["maxItems"])[: part["maxItems"] + step] for step in (0, 1)]
        if isinstance(value, dict):
            found += [{key: item for key, item in value.items() if key != gone} for gone in value]
            found += [{**value, "unknown": 1}, {**value, "unknown\n": "x"}]
    return found


def bends(schema: dict[str, Any], value: Any) -> Iterator[Any]:
    """Every value that differs from a fitting one in one place, at any depth; some still fit."""
    yield from nudges(schema, value)
    kind = "object" if isinstance(value, dict) else "array" if isinstance(value, list) else ""
    nothing: dict[str, Any] = {}
    part = next((part for part in branch(schema) if kind and part.get("type") == kind), nothing)
    if isinstance(value, dict):
        for name in cast("dict[str, Any]", value):
            yield from ({**value, name: bent} for bent in bends(part_of(part, name), value[name]))
    elif isinstance(value, list) and value:
        yield from ([*value[1:], bent] for bent in bends(part.get("items", {}), value[0]))


def part_of(schema: dict[str, Any], name: str) -> dict[str, Any]:
    """What an object's schema says of the value under ``name``."""
    for inner in (schema.get("properties", {}).get(name), *schema.get("patternProperties", {}).values()):
        if inner is not None:
            return inner
    rest = schema.get("additionalProperties")
    return rest if isinstance(rest, dict) else {}


def in_order(schema_id: str, value: Any) -> Any:
    """A plan whose tasks are a graph that can be executed, where that is all that could be wrong with them."""
    if schema_id != "PLAN" or not isinstance(value, dict) or not isinstance(value.get("tasks"), list):
        return value
    tasks = [
        {**task, "id": f"t{place}", "depends_on": []} if specs.problems("TASK", task) == [] else task
        for place, task in enumerate(cast("list[Any]", value["tasks"]))
    ]
    return {**value, "tasks": tasks}


def both(schema_id: str, value: Any) -> tuple[bool, bool]:
    """Whether the schema and the model accept a value that came as JSON."""
    text = json.dumps(value)
    try:
        ADAPTERS[schema_id].validate_json(text, strict=True)
    except ValidationError:
        accepted = False
    else:
        accepted = True
    return specs.problems(schema_id, json.loads(text)) == [], accepted


@pytest.mark.parametrize("schema_id", MODELS)
def test_what_the_schema_describes_the_model_accepts(schema_id: str) -> None:
    @SAMPLES
    @given(fitting(specs.schema(schema_id)))
    def check(value: Any) -> None:
        assert both(schema_id, in_order(schema_id, value)) == (True, True), value

    check()


@pytest.mark.parametrize("schema_id", MODELS)
def test_what_the_model_describes_the_schema_accepts(schema_id: str) -> None:
    described = inlined(ADAPTERS[schema_id].json_schema())

    @SAMPLES
    @given(fitting(described))
    def check(value: Any) -> None:
        assert both(schema_id, in_order(schema_id, value)) == (True, True), value

    check()


@pytest.mark.parametrize("schema_id", MODELS)
def test_a_value_broken_in_one_place_is_refused_by_both_or_by_none(schema_id: str) -> None:
    schema, counts = specs.schema(schema_id), {True: 0, False: 0}

    @settings(SAMPLES, max_examples=2, phases=[Phase.generate])  # each value stands for hundreds; no shrinking
    @given(fitting(schema, full=True))
    def check(value: Any) -> None:
        for bent in bends(schema, value):
            by_schema, by_model = both(schema_id, in_order(schema_id, bent))
            assert by_schema == by_model, bent
            counts[by_schema] += 1

    check()
    assert counts[False] > 10, "hardly a sample broke a rule"


def inlined(schema: dict[str, Any]) -> dict[str, Any]:
    """A schema of pydantic with its ``$defs`` put in place."""
    defs = schema.get("$defs", {})

    def resolve(node: Any) -> Any:
        if isinstance(node, list):
            return [resolve(item) for item in node]
        if not isinstance(node, dict):
            return node
        if "$ref" in node:
            return resolve(defs[node["$ref"].removeprefix("#/$defs/")])
        return {key: resolve(value) for key, value in node.items() if key != "$defs"}

    return resolve(schema)


# --- rules that a schema cannot say ------------------------------------------------------------------------------


def test_usage_adds_up() -> None:
    """Proves TR-8 for the sums."""
    one = c.Usage(calls=1, tokens_in=2, tokens_out=3, cost=Money(units=4))
    assert one + one + c.Usage() == c.Usage(calls=2, tokens_in=4, tokens_out=6, cost=Money(units=8))


def test_a_tool_that_says_nothing_about_itself_is_treated_with_care() -> None:
    """Proves TR-9."""
    tool = Capability(name="shop__order", server="shop", tool="order", input_schema={})
    assert (tool.read_only, tool.idempotent, tool.destructive) == (False, False, True)
    with pytest.raises(ValidationError, match="name"):
        Capability(name="order", server="shop", tool="order", input_schema={})


@pytest.mark.parametrize(
    ("depends_on", "complaint"),
    [
        ({"t1": [], "t2": ["t9"]}, "unknown"),
        ({"t1": ["t1"]}, "wait for each other"),
        ({"t1": ["t2"], "t2": ["t1"]}, "wait for each other"),
    ],
)
def test_a_plan_that_cannot_be_executed_fits_the_schema_and_not_the_model(
    depends_on: dict[str, list[str]], complaint: str
) -> None:
    tasks = [
        {"id": name, "title": name, "instruction": name, "depends_on": needs} for name, needs in depends_on.items()
    ]
    assert specs.problems("PLAN", {"tasks": tasks}) == []
    with pytest.raises(ValidationError, match=complaint):
        c.Plan.model_validate({"tasks": tasks})


def test_two_tasks_with_one_id_are_refused() -> None:
    task = {"id": "t1", "title": "a", "instruction": "a"}
    with pytest.raises(ValidationError, match="same id"):
        c.Plan.model_validate({"tasks": [task, task]})


def test_context_version_follows_what_a_result_depends_on() -> None:
    base: dict[str, Any] = {"goal": "a", "inputs": {"feed": "f", "b": "2"}, "constraints": ["x", "y"]}
    version = c.Mission(**base).context_version
    assert len(version) == 16
    assert int(version, 16) >= 0
    changes: list[dict[str, Any]] = [
        {"goal": "b"},
        {"inputs": {"feed": "g", "b": "2"}},
        {"persona": "p"},
        {"constraints": ["y", "x"]},
        {"budget": c.Budget(tokens=1)},
        {"budget": c.Budget(money=Money(units=1))},
    ]
    for change in changes:
        assert c.Mission(**{**base, **change}).context_version != version, change
    unchanged: list[dict[str, Any]] = [{"deadline_s": 1.0}, {"tenant": "other"}]
    for same in unchanged:
        assert c.Mission(**{**base, **same}).context_version == version, same


def test_context_version_does_not_depend_on_the_order_of_inputs() -> None:
    """Postgres orders the keys of jsonb in its own way; a mission read from there must be the same mission."""
    one = c.Mission(goal="a", inputs={"feed": "f", "b": "2"})
    other = c.Mission(goal="a", inputs={"b": "2", "feed": "f"})
    assert one.context_version == other.context_version
