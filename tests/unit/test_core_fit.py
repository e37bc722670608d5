"""A stranger's schema is checked as JSON Schema means it, with bounded work and without a network."""

import socket
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from chimera.core import specs
from chimera.core.fit import fits, matches, misfit, misfits
from chimera.core.forms import plain_form, properties

VALUES: list[Any] = [None, True, 0, 1, 1.0, -3, 2.5, "", "abc", "abc\n", [], [1, 1], [1, "a"], {}, {"a": 1}, {"b": [1]}]
SCHEMAS: list[dict[str, Any]] = [
    {},
    {"type": "integer"},
    {"type": ["string", "null"]},
    {"const": 1},
    {"enum": [1, "abc", None]},
    {"minimum": 1, "exclusiveMaximum": 2.5},
    {"multipleOf": 0.5},
    {"minLength": 1, "maxLength": 3},
    {"items": {"type": "integer"}, "uniqueItems": True},
    {"prefixItems": [{"type": "integer"}], "items": False},
    {"contains": {"type": "string"}},
    {"required": ["a"], "properties": {"a": {"type": "integer"}}},
    {"additionalProperties": {"type": "integer"}},
    {"patternProperties": {"^a": {"minimum": 1}}, "additionalProperties": False},
    {"propertyNames": {"maxLength": 1}, "minProperties": 1},
    {"anyOf": [{"type": "string"}, {"type": "array"}]},
    {"oneOf": [{"type": "integer"}, {"type": "number"}]},
    {"allOf": [{"type": "integer"}, {"minimum": 1}]},
    {"not": {"type": "null"}},
    {"if": {"type": "integer"}, "then": {"minimum": 1}, "else": {"type": ["string", "object"]}},
    {"dependentRequired": {"a": ["b"]}},
    {"$ref": "#/$defs/x", "$defs": {"x": {"type": "string"}}},
    {"$defs": {"x": {"type": "object", "additionalProperties": {"$ref": "#/$defs/x"}}}, "$ref": "#/$defs/x"},
    {"$schema": "http://json-schema.org/draft-07/schema#", "type": "object"},
]


@pytest.mark.parametrize("schema", SCHEMAS, ids=str)
def test_it_agrees_with_the_reference_validator(schema: dict[str, Any]) -> None:
    theirs = Draft202012Validator({key: value for key, value in schema.items() if key != "$schema"})
    for value in VALUES:
        assert fits(schema, value) is theirs.is_valid(value), value


def test_it_agrees_with_the_examples_of_the_specifications() -> None:
    for example in specs.examples():
        assert fits(specs.schema(example.schema_id), example.value) is example.valid, example.block.line


@pytest.mark.parametrize(
    ("pattern", "text", "found"),
    [
        ("^[a-z]+$", "abc", True),
        ("^[a-z]+$", "abc\n", False),
        ("^a$|^b$", "a\n", False),
        ("^(a|b$)", "b\n", False),
        (r"5\$", "5$", True),
        ("[$]", "$", True),
        ("[^$]", "$", False),
        ("b", "abc", True),
        (r"^\d+$", "12", True),
        (r"^\d+$", "١٢", False),
        (r"^[\d-]+$", "1-2", True),
        (r"^\w+$", "é", False),
        (r"^\W$", "é", True),
        (r"^\D$", "1", False),
        (r"^\p{L}+$", "é", True),
        (r"^[^\s@]+@[^\s@]+$", "a@b", True),
        (r"^(?<year>\d{4})-\d\d$", "2026-11", True),
        (r"^\/a$", "/a", True),
        ("(", "(", False),
    ],
)
def test_expressions_mean_what_they_mean_in_json_schema(pattern: str, text: str, found: bool) -> None:
    assert matches(pattern, text) is found
    assert fits({"pattern": pattern}, text) is found


def test_the_place_and_the_rule_are_named_and_the_value_is_not() -> None:
    schema = {"properties": {"a": {"items": {"maxLength": 3}}}}
    assert misfit(schema, {"a": ["ok", "secret"]}) == "a/1 violates maxLength 3"
    assert misfit({"type": "integer"}, "secret") == 'the whole violates type "integer"'
    hostile = misfit({"additionalProperties": {"type": "integer"}}, {"\x1b[2J" + "x" * 5_000: "a"})
    assert hostile is not None
    assert hostile.isprintable()
    assert len(hostile) < 200


def test_everything_that_is_wrong_is_named_but_no_value() -> None:
    schema = {
        "type": "object",
        "properties": {"n": {"type": "integer"}, "list": {"type": "array", "uniqueItems": True}},
        "required": ["must"],
        "additionalProperties": False,
    }
    wrong = {"n": "canary", "list": [1, 1], "extra": 0}
    assert misfits(schema, wrong) == [
        'n violates type "integer"',
        "list violates uniqueItems",
        "the whole violates required: 'must' is a required property",
        "the whole violates additionalProperties: 'extra' is unknown",
    ]
    assert misfits(schema, wrong, 2) == misfits(schema, wrong)[:2]
    assert misfits(schema, {"n": 1, "list": []}) == ["the whole violates required: 'must' is a required property"]
    assert misfits(schema, {"n": 1, "list": [], "must": None}) == [
        "the whole violates additionalProperties: 'must' is unknown"
    ]


def test_a_part_that_names_another_draft_is_checked_with_bounded_work_too() -> None:
    dated = {"$schema": "http://json-schema.org/draft-07/schema#", "pattern": "^(.*a){20}$"}
    for part in (dated, {"pattern": "^(.*a){20}$"}):
        assert misfits({"properties": {"a": part}}, {"a": "a" * 5_000 + "!"}) == ["the schema is too complex to check"]


def test_a_check_that_doubles_with_the_depth_of_the_data_is_given_up() -> None:
    node = {"properties": {"x": {"allOf": [{"$ref": "#/$defs/node"}] * 2}}}
    data: dict[str, Any] = {}
    for _ in range(60):
        data = {"x": data}
    assert misfits({"$defs": {"node": node}, "$ref": "#/$defs/node"}, data) == ["the schema is too complex to check"]


DOUBLING: dict[str, Any] = {
    f"a{level}": {"allOf": [{"$ref": f"#/$defs/a{level + 1}"}, {"$ref": f"#/$defs/a{level + 1}"}]}
    for level in range(40)
}
HOSTILE: list[tuple[dict[str, Any], Any]] = [
    ({"pattern": "^(a+)+$"}, "a" * 5_000 + "!"),
    ({"pattern": r"^(\w|\d)+$"}, "1" * 5_000 + "!"),
    ({"pattern": "(x+x+)+y"}, "x" * 50_000),
    ({"pattern": "^(.*a){20}$"}, "a" * 5_000 + "!"),
    ({"items": {"pattern": "^(a|aa)+$"}}, ["a" * 5_000 + "!"] * 1_000),
    ({"patternProperties": {"^(a|aa)+$": {}}}, {"a" * 5_000 + "!": 1}),
    ({"$defs": {**DOUBLING, "a40": {}}, "$ref": "#/$defs/a0"}, {}),
    ({"$ref": "#"}, {}),
    ({"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"}, {}),
    ({"items": {"anyOf": [{"const": number} for number in range(1_000)]}}, list(range(5_000))),
]


@pytest.mark.timeout(60)
@pytest.mark.parametrize(("schema", "value"), HOSTILE, ids=lambda part: str(part)[:60])
def test_a_hostile_schema_ends(schema: dict[str, Any], value: Any) -> None:
    """Most do not fit because nobody could find out; none runs on."""
    misfit(schema, value)


def test_what_cannot_be_checked_does_not_fit() -> None:
    assert not fits({"pattern": "^(.*a){20}$"}, "a" * 5_000 + "!")
    assert not fits({"$defs": {**DOUBLING, "a40": {}}, "$ref": "#/$defs/a0"}, {})
    for broken in ({"type": 12}, {"pattern": "("}, {"minLength": "a"}, {"required": 5}, {"$ref": "#/nowhere"}):
        assert not fits(broken, "abc") or not fits(broken, {"a": 1})


@pytest.mark.parametrize("keyword", ["$ref", "$dynamicRef"])
def test_nothing_is_fetched(keyword: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reference validator would open the address."""

    def no_network(*_: Any, **__: Any) -> Any:
        raise AssertionError("a connection was tried")

    monkeypatch.setattr(socket, "socket", no_network)
    monkeypatch.setattr(socket, "create_connection", no_network)
    for address in ("http://127.0.0.1:9/schema", "file:///etc/hostname", "//127.0.0.1/x", "other.json"):
        assert misfit({keyword: address}, {}) == "the schema refers to a part that is not there"


def test_forms_are_read_through_their_wrappers() -> None:
    schema = {
        "$defs": {"Kind": {"enum": ["a", "b"], "type": "string"}, "Deep": {"$ref": "#/$defs/Kind"}},
        "properties": {
            "maybe": {"anyOf": [{"type": "integer", "minimum": 1}, {"type": "null"}], "default": None, "title": "M"},
            "kind": {"$ref": "#/$defs/Deep", "description": "which"},
            "both": {"allOf": [{"type": "string"}, {"maxLength": 5}]},
            "listed": {"type": ["null", "number"]},
            "loop": {"$ref": "#/properties/loop"},
            "gone": {"$ref": "#/$defs/none"},
            "odd": True,
        },
    }
    found = properties(schema)
    assert found["maybe"] == {"type": "integer", "minimum": 1, "default": None, "title": "M"}
    assert found["kind"] == {"enum": ["a", "b"], "type": "string", "description": "which"}
    assert found["both"] == {"type": "string", "maxLength": 5}
    assert found["listed"]["type"] == "number"
    assert [found["loop"], found["gone"], found["odd"]] == [{}, {}, {}]
    assert plain_form({"oneOf": [{"type": "null"}, {"type": "string"}]}) == {"type": "string"}
    assert properties({"properties": 5}) == properties({}) == {}
