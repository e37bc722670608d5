"""Working by rules: call the tools that the plan names, then extract from their results; nothing is made up."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, cast

from langchain_core.messages import AIMessage, BaseMessage, ToolMessage

from chimera.core.contracts import FIND_TOOLS
from chimera.core.forms import properties
from chimera.core.spotlight import read
from chimera.models.offline.filling import COMPOSE, fill

NOTICE = "Made by offline rules: extracted from tool results, without a language model."
MAX_CLAIMS = 10
MAX_CITES = 3
MAX_TEXT = 2_000
FIND_MAX = 1_000
_UNNAMEABLE = re.compile(r"[^A-Za-z0-9_-]")


def work(request: dict[str, Any], messages: Sequence[BaseMessage], offered: Sequence[dict[str, Any]]) -> AIMessage:
    """The next turn: one call for each tool not called yet, else the answer extracted from what they gave.

    Where none of the plan's tools gave anything, it looks for another one that only reads, and tries what is found in
    turn.
    """
    results = [message for message in messages if isinstance(message, ToolMessage) and message.name != FIND_TOOLS]
    called = {call["name"] for message in messages if isinstance(message, AIMessage) for call in message.tool_calls}
    composed = _compose(request)
    planned = {_offered_as(str(name)) for name in cast("list[Any]", request["task"].get("tools") or [])}
    calls = [
        _call(tool["name"], _arguments(request, tool, composed))
        for tool in offered
        if tool["name"] not in called and (tool["name"] in planned or not planned) and tool["name"] != FIND_TOOLS
    ]
    if not calls and all(result.status == "error" for result in results):
        calls = _another(request, messages, [tool for tool in offered if tool["name"] not in called])
    if calls:
        return AIMessage(content="", tool_calls=calls)
    own = [claim for result in results for claim in _claims(_read(str(result.content)))]
    uses_composed = COMPOSE in json.dumps(request["task"].get("arguments") or {})
    return AIMessage(content=composed if uses_composed else "\n".join(own))


def _another(
    request: Mapping[str, Any], messages: Sequence[BaseMessage], left: Sequence[dict[str, Any]]
) -> list[dict[str, Any]]:
    """A search for tools; or, when that was made, a call of the best one found whose arguments are known."""
    offered = {str(tool["name"]): tool for tool in left}
    if FIND_TOOLS in offered:
        return [_call(FIND_TOOLS, {"query": str(request["task"]["instruction"])[:FIND_MAX]})]
    answers = [message for message in messages if isinstance(message, ToolMessage) and message.name == FIND_TOOLS]
    for answer in answers:
        data: dict[str, Any] = _read(str(answer.content)).get("data") or {}
        for found in cast("list[dict[str, Any]]", data.get("tools") or []):
            tool = offered.get(_offered_as(str(found["name"])))
            if tool is not None and found["effect"] == "reads":
                clause = str(request["task"]["instruction"])
                filled = fill(tool["parameters"], clause, request.get("inputs") or {}, may_compose=False)
                if not filled.missing:
                    return [_call(tool["name"], filled.arguments)]
    return []


def _call(name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "args": arguments, "id": f"call-{name}", "type": "tool_call"}


def _offered_as(name: str) -> str:
    """A tool's name as it is offered to models: as providers allow it."""
    return _UNNAMEABLE.sub("_", name)[:64]


def _arguments(request: Mapping[str, Any], tool: Mapping[str, Any], composed: str) -> dict[str, Any]:
    known: dict[str, dict[str, Any]] = request["task"].get("arguments") or {}
    # Tools are offered under names that providers allow, and planned under their own.
    planned = next((args for name, args in known.items() if _offered_as(name) == tool["name"]), None)
    if not planned:
        clause = str(request["task"]["instruction"])
        planned = fill(tool["parameters"], clause, request.get("inputs") or {}, may_compose=bool(composed)).arguments
    forms = properties(tool["parameters"])
    return {
        name: _cut(composed, forms.get(name, {})) if value == COMPOSE else value
        for name, value in planned.items()
        if value is not None  # a name that the plan leaves to be filled, which rules cannot
    }


def _cut(text: str, form: Mapping[str, Any]) -> str:
    """The text as far as the argument allows, by whole lines, so that no claim loses its citation."""
    most = form.get("maxLength")
    if not isinstance(most, int) or len(text) <= most:
        return text
    return text[:most].rpartition("\n")[0]


def _read(content: str) -> dict[str, Any]:
    try:
        return read(content)
    except ValueError:
        return {"text": content}


def _claims(result: Mapping[str, Any]) -> list[str]:
    """One line for each record that names its evidence; else the result's own text with its evidence."""
    lines: list[str] = []
    for records in (result.get("data") or {}).values():
        if isinstance(records, list):
            found = [cast("dict[str, Any]", record) for record in records[:MAX_CLAIMS] if isinstance(record, dict)]
            lines += [_claim(record) for record in found if record.get("evidence")]
    if lines:
        return lines
    cites = "".join(f" [{item['id']}]" for item in (result.get("evidence") or [])[:MAX_CITES])
    text = _unbracketed(" ".join(str(result.get("text") or "").split())[:MAX_TEXT])
    return [f"- {text}{cites}"] if text else []


def _claim(record: Mapping[str, Any]) -> str:
    plain = {key: value for key, value in record.items() if isinstance(value, str | int | float) and key != "evidence"}
    label = next((str(value) for value in plain.values() if isinstance(value, str)), "")
    rest = _unbracketed(", ".join(f"{key} {_short(value)}" for key, value in plain.items() if value != label))
    cites = "".join(f" [{cite}]" for cite in record["evidence"][:MAX_CITES])
    return f"- **{_unbracketed(label)}**: {rest}{cites}"


def _unbracketed(text: str) -> str:
    """Text of a tool without square brackets, so that nothing in it passes for a citation."""
    return text.replace("[", "(").replace("]", ")")


def _short(value: str | int | float) -> str:
    return f"{value:.12g}" if isinstance(value, float) else str(value)  # as the tool gave it, without the noise


def _compose(request: Mapping[str, Any]) -> str:
    """A document of the claims of the tasks before, and the sources that they cite."""
    earlier: list[dict[str, Any]] = request.get("earlier") or []
    if not any(part.get("answer") for part in earlier):
        return ""
    lines = [f"# {request.get('goal') or request['task']['title']}", "", f"> {NOTICE}", ""]
    sources: dict[str, dict[str, Any]] = {}
    for part in earlier:
        lines += [f"## {part['title']}", "", str(part["answer"]), ""]
        cited = str(part["answer"])
        sources |= {item["id"]: item for item in part.get("evidence") or [] if f"[{item['id']}]" in cited}
    lines += ["## Sources", ""]
    for cite, item in sources.items():
        text = " ".join(str(item["text"]).split()).replace("`", "'")[:300]
        lines.append(f"- [{cite}] {item['source']}: `{text}`")
    digests = sorted({(item["source"], item["sha256"]) for item in sources.values() if item.get("sha256")})
    lines += ["", *(f"SHA-256 of {source} as read: {digest}" for source, digest in digests)]
    return "\n".join(lines).rstrip() + "\n"
