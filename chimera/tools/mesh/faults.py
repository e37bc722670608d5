"""Failures of a transport, told to the one call they concern as if the server had answered with a JSON-RPC error.

The MCP client session loses such failures: an answer that cannot be read leaves its call waiting for ever, and a
refused HTTP request ends the whole session. So the transports put one of these in the answer's place.
"""

import json
import secrets
from enum import StrEnum

from mcp.types import ErrorData

_CODE = -32098
_MARK = f"chimera-{secrets.token_hex(8)}"  # a server cannot know it, so it cannot forge a fault


class Fault(StrEnum):
    """What went wrong between the server and us."""

    TOO_LARGE = "too large"
    MALFORMED = "malformed"
    LOST = "lost"  # the request may have been carried out
    NOT_SENT = "not sent"  # the request was certainly not carried out
    GONE = "gone"  # the same, because the server no longer knows this session
    REFUSED = "refused"  # an HTTP error status


def fault_answer(request_id: int, fault: Fault, reason: str) -> bytes:
    """The JSON-RPC error that stands in for the answer to ``request_id``."""
    error = {"code": _CODE, "message": reason, "data": {_MARK: fault.value}}
    return json.dumps({"jsonrpc": "2.0", "id": request_id, "error": error}).encode()


def fault_of(error: ErrorData) -> Fault | None:
    """The fault that a JSON-RPC error stands for; None when the server itself sent it."""
    marked = error.data.get(_MARK) if isinstance(error.data, dict) else None
    return Fault(marked) if isinstance(marked, str) else None
