"""Proves that only usable tools are listed, each other one with its reason, and that no schema can hang its check."""

from typing import Any

import pytest

from chimera.core.usable import schema_problem
from chimera.tools.mesh.listing import TOOLS_MAX, to_listing
from chimera.tools.mesh.untrusted import one_line, paragraph

OBJECT: dict[str, Any] = {"type": "object"}


def test_hints_are_cautious_unless_the_server_says_more() -> None:
    raw = [
        {"name": "plain", "inputSchema": OBJECT},
        {"name": "reads", "inputSchema": OBJECT, "annotations": {"readOnlyHint": True}},
        {"name": "repeats", "inputSchema": OBJECT, "annotations": {"idempotentHint": True, "destructiveHint": False}},
    ]
    tools = to_listing("s", raw).tools
    hints = {name: (tool.read_only, tool.idempotent, tool.destructive) for name, tool in tools.items()}
    assert hints == {"plain": (False, False, True), "reads": (True, False, False), "repeats": (False, True, False)}
    assert [tool.name for tool in tools.values()] == ["s__plain", "s__reads", "s__repeats"]


def test_a_listing_without_end_is_cut() -> None:
    listing = to_listing("s", [{"name": f"t{number}", "inputSchema": OBJECT} for number in range(TOOLS_MAX + 1)])
    assert len(listing.tools) == TOOLS_MAX
    assert list(listing.dropped) == [f"t{TOOLS_MAX}"]


def test_text_of_servers_cannot_steer_a_terminal_or_hide() -> None:
    assert one_line("a\x1b[2J\r\nb\u202ec\U000e0041\u00a0d") == "a[2J bc d"
    assert len(one_line("x" * 1_000)) == 300
    assert paragraph("one\n\x07two\x00") == "one\ntwo"


def doubling(levels: int) -> dict[str, Any]:
    parts = {f"a{level}": {"allOf": [{"$ref": f"#/$defs/a{level + 1}"}] * 2} for level in range(levels)}
    return {"$defs": {**parts, f"a{levels}": {}}, "$ref": "#/$defs/a0"}


@pytest.mark.parametrize(
    ("schema", "problem"),
    [
        (OBJECT, None),
        ({"$schema": "http://json-schema.org/draft-07/schema#", **OBJECT, "definitions": {"a": {}}}, None),
        ({"properties": {"a": {"$ref": "#/$defs/a"}}, "$defs": {"a": {"type": "string"}}}, None),
        ({"properties": {"a": {"const": {"$ref": "https://example.com/not-a-reference"}}}}, None),
        ({"properties": {"$ref": {"type": "string"}}}, None),
        ({"properties": {"a": {"$ref": "https://example.com/a"}}}, "another document"),
        ({"properties": {"a": {"$ref": "file:///etc/passwd"}}}, "another document"),
        ({"properties": {"a": {"$ref": "#/$defs/nowhere"}}}, "not there"),
        ({"properties": {"a": {"pattern": "("}}}, "not valid"),
        ({"type": "objekt"}, "not valid"),
        ({"$ref": "#"}, "too complex"),
        (doubling(40), "too complex"),
        ({"description": "x" * 100_001}, "larger than"),
    ],
)
def test_schemas_that_need_a_network_or_for_ever_are_refused(schema: dict[str, Any], problem: str | None) -> None:
    found = schema_problem(schema)
    assert found is None if problem is None else problem in (found or "")
