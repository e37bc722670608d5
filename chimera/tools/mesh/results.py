"""A server's answer to a tool call, as a result to work with or as an error of ours."""

import json
from typing import Any

from mcp import types
from pydantic import ValidationError

from chimera.core.contracts import Evidence
from chimera.core.errors import ToolRefused, ToolResultTooLarge
from chimera.core.ids import digest
from chimera.store.values import as_stored
from chimera.tools.capability import Capability, ToolResult
from chimera.tools.mesh.untrusted import one_line

EVIDENCE_MAX = 4_000
_NUL = b"\\u0000"


def to_result(capability: Capability, answer: types.CallToolResult, limit: int) -> ToolResult:
    """The result that ``answer`` holds.

    Raises:
        ToolResultTooLarge: it is more than ``limit`` bytes as JSON.
        ToolRefused: the server says that the call failed.
    """
    raw = answer.model_dump_json(by_alias=True, exclude_none=True).encode()
    if len(raw) > limit:
        raise too_large(capability.name, limit)
    text = "\n".join(_text(block) for block in answer.content)
    data = answer.structuredContent
    if _NUL in raw:
        text, data = as_stored(text), as_stored(data)
    if answer.isError:
        raise ToolRefused(f"{capability.name}: {one_line(text) or 'no reason given'}", tool=capability.name)
    if not text and data is not None:
        text = json.dumps(data, ensure_ascii=False)
    return ToolResult(text=text, data=data, evidence=_evidence(capability, text, data), size=len(raw))


def too_large(name: str, limit: int) -> ToolResultTooLarge:
    """The error for a result of more than ``limit`` bytes."""
    return ToolResultTooLarge(f"{name}: the result is larger than {limit:,} bytes", tool=name, limit=limit)


def _text(block: types.ContentBlock) -> str:
    """The block's text; what is not text is described."""
    match block:
        case types.TextContent():
            return block.text
        case types.EmbeddedResource():
            held = block.resource
            if isinstance(held, types.TextResourceContents):
                return held.text
            return f"[{one_line(held.mimeType or 'binary', 80)}, {_bytes(held.blob)}, not shown]"
        case types.ResourceLink():
            return f"[link to {one_line(block.name, 200)}: {one_line(str(block.uri), 500)}]"
        case types.ImageContent() | types.AudioContent():
            return f"[{block.type} {one_line(block.mimeType, 80)}, {_bytes(block.data)}, not shown]"


def _bytes(base64: str) -> str:
    return f"about {len(base64) * 3 // 4:,} bytes"


def _evidence(capability: Capability, text: str, data: dict[str, Any] | None) -> list[Evidence]:
    """The pieces that the server marked as evidence, ids kept; without any, the text as one piece."""
    marked = data.get("evidence") if data else None
    found: dict[str, Evidence] = {}
    for item in marked if isinstance(marked, list) else []:
        try:
            piece = Evidence.model_validate(item)
        except ValidationError:
            continue
        found.setdefault(piece.id, piece)
    if found or not text:
        return list(found.values())
    whole = digest(text)
    key = f"{capability.name}:{whole[:12]}"
    return [Evidence(id=key, text=text[:EVIDENCE_MAX], source=capability.server, sha256=whole)]
