"""Proves what becomes of a server's answer: text, data, evidence, refusals and limits."""

from typing import Any

import pytest
from mcp.types import CallToolResult

from chimera.core.errors import ToolRefused, ToolResultTooLarge
from chimera.core.ids import digest
from chimera.tools.capability import Capability
from chimera.tools.mesh.results import to_result

TOOL = Capability(name="s__t", server="s", tool="t", input_schema={"type": "object"})


def answer(*content: dict[str, Any], **more: Any) -> CallToolResult:
    return CallToolResult.model_validate({"content": content, **more})


def text(value: str) -> dict[str, Any]:
    return {"type": "text", "text": value}


def test_text_becomes_one_piece_of_evidence_cut_to_what_a_piece_may_hold() -> None:
    result = to_result(TOOL, answer(text("a" * 5_000), text("b")), 1_000_000)
    whole = "a" * 5_000 + "\nb"
    assert result.text == whole
    (piece,) = result.evidence
    assert (piece.id, piece.source, piece.text) == (f"s__t:{digest(whole)[:12]}", "s", whole[:4_000])
    assert piece.sha256 == digest(whole)


def test_marked_evidence_is_taken_with_its_ids_and_the_invalid_is_left() -> None:
    pieces = [
        {"id": "r1", "text": "one", "source": "feed"},
        {"id": ""},
        "x",
        {"id": "r1", "text": "again", "source": "y"},
    ]
    data = {"rows": 1, "evidence": pieces}
    result = to_result(TOOL, answer(text("one row"), structuredContent=data), 1_000_000)
    assert [(piece.id, piece.text) for piece in result.evidence] == [("r1", "one")]
    assert result.data == data


@pytest.mark.parametrize("marked", [[], [{"id": ""}], "no list", None])
def test_without_a_valid_mark_the_text_is_the_evidence(marked: Any) -> None:
    result = to_result(TOOL, answer(text("t"), structuredContent={"evidence": marked}), 1_000_000)
    assert [piece.text for piece in result.evidence] == ["t"]


def test_data_alone_is_shown_as_text() -> None:
    assert to_result(TOOL, answer(structuredContent={"a": "ä"}), 1_000_000).text == '{"a": "ä"}'


def test_nothing_gives_no_evidence() -> None:
    assert to_result(TOOL, answer(), 1_000_000).evidence == []


def test_what_is_not_text_is_described_and_not_inlined() -> None:
    blob = "A" * 4_000
    result = to_result(
        TOOL,
        answer(
            {"type": "image", "data": blob, "mimeType": "image/png"},
            {"type": "audio", "data": blob, "mimeType": "audio/wav"},
            {"type": "resource", "resource": {"uri": "file:///a.bin", "blob": blob}},
            {"type": "resource", "resource": {"uri": "file:///a.txt", "text": "inside"}},
            {"type": "resource_link", "name": "page", "uri": "https://example.com/p"},
        ),
        1_000_000,
    )
    assert result.text.splitlines() == [
        "[image image/png, about 3,000 bytes, not shown]",
        "[audio audio/wav, about 3,000 bytes, not shown]",
        "[binary, about 3,000 bytes, not shown]",
        "inside",
        "[link to page: https://example.com/p]",
    ]


def test_nul_is_replaced_everywhere_for_postgres_cannot_hold_it() -> None:
    result = to_result(TOOL, answer(text("a\x00b"), structuredContent={"k\x00": ["v\x00"]}), 1_000_000)
    assert result.text == "a\ufffdb"
    assert result.data == {"k\ufffd": ["v\ufffd"]}


def test_a_refusal_is_the_servers_reason_on_one_short_line() -> None:
    with pytest.raises(ToolRefused) as caught:
        to_result(TOOL, answer(text("no\nsuch \x1b[31mrow " + "z" * 900), isError=True), 1_000_000)
    assert caught.value.message.startswith("s__t: no such [31mrow zz")
    assert len(caught.value.message) < 320


@pytest.mark.parametrize("is_error", [False, True])
def test_the_limit_counts_the_whole_answer(is_error: bool) -> None:
    big = answer(text("x" * 600), structuredContent={"x": "y" * 600}, isError=is_error)
    with pytest.raises(ToolResultTooLarge):
        to_result(TOOL, big, 1_000)
