"""Scripted models from their declaration in a case: how a golden mission gets a model that misbehaves."""

import re
import time
from collections.abc import Callable, Sequence
from typing import Any, cast

from langchain_core.messages import AIMessage, BaseMessage, ToolMessage

from chimera.core.spotlight import read
from chimera.evals.cases import Call, Case, Line, Obey
from chimera.models.scripted import ScriptedModel

NOTHING_TO_OBEY = "Nothing told me to do anything."


def scripted_models(case: Case) -> dict[str, ScriptedModel]:
    """A model for each role that the case scripts. Each play of a case needs its own: a script has a place."""
    return {role: ScriptedModel(script=[_line(line) for line in lines]) for role, lines in case.script.items()}


def _line(line: Line) -> Any:
    if line.fail is not None:
        return ConnectionError(line.fail)
    if line.obey is not None:
        return _obeying(line.obey, line.tokens)
    if line.wait_s is not None:
        return _waiting(line.wait_s, line.tokens)
    if line.call is not None:
        return _message("", [_tool_call(call, place) for place, call in enumerate(line.call)], line.tokens)
    return _message(line.say or "", [], line.tokens)


def _message(text: str, calls: list[dict[str, Any]], tokens: int) -> AIMessage:
    usage = {"input_tokens": tokens, "output_tokens": 0, "total_tokens": tokens}
    return AIMessage(content=text, tool_calls=calls, usage_metadata=usage)


def _tool_call(call: Call, place: int) -> dict[str, Any]:
    args = {name: _repeated(value) for name, value in call.args.items()}
    return {"name": call.name, "args": args, "id": f"scripted-{place}", "type": "tool_call"}


def _repeated(value: Any) -> Any:
    """``{"repeat": TEXT, "times": N}`` stands for a long text."""
    if not isinstance(value, dict):
        return value
    long = cast("dict[str, Any]", value)
    return str(long["repeat"]) * int(long["times"]) if set(long) == {"repeat", "times"} else long


def _obeying(obey: Obey, tokens: int) -> Callable[[Sequence[BaseMessage], Sequence[str]], AIMessage]:
    def line(messages: Sequence[BaseMessage], offered: Sequence[str]) -> AIMessage:
        for message in messages:
            if isinstance(message, ToolMessage) and (order := re.search(obey.pattern, _as_read(message))):
                call = Call(name=obey.tool, args={obey.argument: order[1]})
                return _message("", [_tool_call(call, 0)], tokens)
        return _message(NOTHING_TO_OBEY, [], tokens)

    return line


def _as_read(message: ToolMessage) -> str:
    """A tool result as a model reads it: the strings inside the JSON, with their escapes undone."""
    found: list[str] = []

    def collect(value: Any) -> None:
        match value:
            case str():
                found.append(value)
            case dict() | list():
                for item in value.values() if isinstance(value, dict) else value:
                    collect(item)
            case _:
                return

    try:
        collect(read(message.content))
    except ValueError:
        return str(message.content)
    return "\n".join(found)


def _waiting(seconds: float, tokens: int) -> Callable[[Sequence[BaseMessage], Sequence[str]], AIMessage]:
    def line(messages: Sequence[BaseMessage], offered: Sequence[str]) -> AIMessage:
        time.sleep(seconds)  # LangChain calls synchronous models in a thread
        return _message("I have finished thinking.", [], tokens)

    return line
