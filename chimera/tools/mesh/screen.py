"""What may reach the MCP client session: answers, and requests that it knows how to refuse.

Anything else would make the session write to the root logger, content included, and so to the user's terminal; and
nothing here has a use for a server's notifications.
"""

import re
from enum import Enum, auto
from typing import cast

import pydantic_core
from mcp import types

NOISE_MAX_BYTES = 128_000_000
"""How much a server may write between two answers that is no answer. More can be no accident."""

_PLAIN = {"jsonrpc", "id", "result"}
_VERSION = rb'\s*"jsonrpc"\s*:\s*"2\.0"\s*'
_ID = rb'\s*"id"\s*:\s*"?(\d{1,9})"?\s*'
# Servers write the id first or last; a request of the server's own has neither result nor error.
_HEAD = re.compile(rb"\s*\{(?:" + _VERSION + rb",)?" + _ID + rb",(?:" + _VERSION + rb',)?\s*"(?:result|error)"\s*:')
_TAIL = re.compile(rb"," + _ID + rb"(?:," + _VERSION + rb")?\}\s*$")
_NUMBER = re.compile(r"[0-9]{1,9}")


class Kind(Enum):
    """What a message from a server is."""

    ANSWER = auto()  # passes
    REQUEST = auto()  # passes
    OTHER = auto()  # is dropped: well-formed, but nothing for us
    BROKEN = auto()  # is no message


def kind_of(raw: bytes | bytearray) -> Kind:
    """What ``raw`` is."""
    try:
        if _is_plain_answer(pydantic_core.from_json(raw)):
            return Kind.ANSWER
        message = types.JSONRPCMessage.model_validate_json(raw).root
    except ValueError:  # pydantic's ValidationError is one
        return Kind.BROKEN
    if isinstance(message, types.JSONRPCNotification):
        return Kind.OTHER
    if isinstance(message, types.JSONRPCRequest):
        try:
            types.ServerRequest.model_validate(message.model_dump(by_alias=True, mode="json", exclude_none=True))
        except ValueError:
            return Kind.OTHER
        return Kind.REQUEST
    known = isinstance(message.id, int) or _NUMBER.fullmatch(message.id)
    return Kind.ANSWER if known else Kind.OTHER


def answers(raw: bytes | bytearray, request_id: int) -> bool:
    """Whether ``raw``, which is an answer, is one to this request."""
    return str(cast("dict[str, object]", pydantic_core.from_json(raw)).get("id")) == str(request_id)


def _is_plain_answer(message: object) -> bool:
    """Whether it is an answer as almost all are, seen without building the SDK's models, which will do it once more."""
    if not isinstance(message, dict) or message.keys() != _PLAIN:
        return False
    answer = cast("dict[str, object]", message)
    return answer["jsonrpc"] == "2.0" and type(answer["id"]) is int and isinstance(answer["result"], dict)


def answered_id(head: bytes, tail: bytes) -> int | None:
    """Which request a message that cannot be read whole seems to answer, from its two ends."""
    found = _HEAD.match(head) or _TAIL.search(tail)
    return int(found[1]) if found else None
