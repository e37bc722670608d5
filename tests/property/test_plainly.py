"""A quick yes about a value and a schema is what the reference validator says, and quick for whatever is asked."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from chimera.core.plainly import STEPS_MAX, certainly_fits

NAMES = st.sampled_from("abc")
LEAVES = st.one_of(
    st.sampled_from([None, True, False, 0, 1, 1.0, -3, 2.5, 10**20, "", "a", "abc"]), st.floats(allow_nan=True)
)
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3), max_leaves=6
)
KINDS = st.sampled_from(["string", "integer", "number", "boolean", "null", "object", "array"])
SIZES = st.integers(0, 3)


def schemas(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Valid schemas, of the keywords that are looked at and of a few that are not."""
    limits = {name: st.integers(-2, 3) for name in ("minimum", "maximum")}
    sizes = dict.fromkeys(("minLength", "maxLength", "minItems", "maxItems"), SIZES)
    return st.fixed_dictionaries(
        {},
        optional={
            "type": KINDS | st.lists(KINDS, min_size=1, max_size=3, unique=True),
            "properties": st.dictionaries(NAMES, inner, max_size=3),
            "required": st.lists(NAMES, max_size=2, unique=True),
            "additionalProperties": inner,
            "items": inner,
            "anyOf": st.lists(inner, min_size=1, max_size=3),
            "enum": st.lists(LEAVES, min_size=1, max_size=3),
            "prefixItems": st.lists(inner, min_size=1, max_size=2),
            "patternProperties": st.dictionaries(NAMES, inner, min_size=1, max_size=1),
            "not": inner,
            "const": LEAVES,
            "title": st.just("x"),
            **limits,
            **sizes,
        },
    )


SCHEMAS = schemas(st.recursive(st.booleans() | schemas(st.booleans()), schemas, max_leaves=4))


@given(SCHEMAS, VALUES)
@settings(derandomize=True, database=None)
def test_a_yes_is_a_yes(schema: dict[str, Any], value: Any) -> None:
    if certainly_fits(schema, value):
        assert Draft202012Validator(schema).is_valid(value)


@given(st.lists(st.fixed_dictionaries({"a": st.text(), "b": st.integers() | st.none()})), st.booleans())
@settings(max_examples=50, deadline=None, derandomize=True, database=None)
def test_what_tools_give_is_told_at_once(rows: list[dict[str, Any]], open_: bool) -> None:
    row = {
        "type": "object",
        "properties": {
            "a": {"type": "string"},
            "b": {"anyOf": [{"type": "integer"}, {"type": "null"}], "default": None},
        },
        "required": ["a"],
        "additionalProperties": open_,
    }
    assert certainly_fits({"type": "object", "properties": {"rows": {"type": "array", "items": row}}}, {"rows": rows})
    assert not certainly_fits({"type": "array", "items": row}, [*rows, {"b": 1}])


def test_its_work_is_bounded_in_width_and_depth() -> None:
    wide = {"items": {"anyOf": [{"enum": ["x"] * 1_000}] * 1_000}}
    assert not certainly_fits(wide, ["x"] * STEPS_MAX)
    schema: dict[str, Any] = {"type": "integer"}
    value: Any = 1
    for _ in range(100_000):
        schema, value = {"items": schema}, [value]
    assert not certainly_fits(schema, value)
