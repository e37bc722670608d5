"""What goes wrong in a session, and what that means for a call."""

from typing import cast

import anyio
from mcp import McpError, types
from pydantic import ValidationError

from chimera.core.errors import ToolFailed, ToolRefused, ToolServerDown
from chimera.tools.mesh.faults import Fault, fault_of
from chimera.tools.mesh.results import too_large
from chimera.tools.mesh.untrusted import one_line

_CLOSED = "Connection closed"  # what the SDK says to calls that wait when the server's output ends
_BY_ITSELF = "it ended by itself"


class Lost(Exception):
    """A call got no answer that counts. ``sent``: it may have been carried out. ``dead``: so is the whole session.

    ``told``: the error to raise when nobody else can be asked; None: that the server is down.
    """

    def __init__(self, reason: str, *, sent: bool, dead: bool, told: ToolFailed | None = None) -> None:
        super().__init__(reason)
        self.reason, self.sent, self.dead, self.told = reason, sent, dead, told


class Late(Exception):
    """A call had no answer before its deadline. ``sent``: it may have been carried out."""

    def __init__(self, *, sent: bool) -> None:
        super().__init__()
        self.sent = sent


def reason_of(error: BaseException) -> str:
    """Why a session ended: the first cause, in one line."""
    if isinstance(error, BaseExceptionGroup):
        return reason_of(cast("BaseExceptionGroup[BaseException]", error).exceptions[0])
    match error:
        case ToolServerDown():
            return error.message
        case McpError() if error.error.message == _CLOSED:
            return _BY_ITSELF
        case McpError():
            told = one_line(error.error.message)
            return told if fault_of(error.error) else f"it answered: {told}"
        case ValidationError():
            return "its answer is not valid MCP"
        case anyio.ClosedResourceError() | anyio.BrokenResourceError():
            return "it closed the connection"
        case _:
            return one_line(f"{type(error).__name__}: {error}")


def meaning(name: str, error: BaseException, limit: int) -> Exception:
    """The error to raise for what the SDK raised in a call of the tool ``name``."""
    match error:
        case anyio.ClosedResourceError() | anyio.BrokenResourceError():
            return Lost(_BY_ITSELF, sent=False, dead=True)
        case McpError():
            return _told(name, error.error, limit)
        case ValidationError():
            return _garbage(name, "the answer is not a valid tool result")
        case _:
            return _garbage(name, one_line(f"{type(error).__name__}: {error}"))


def _told(name: str, error: types.ErrorData, limit: int) -> Exception:
    reason = one_line(error.message)
    match fault_of(error):
        case Fault.TOO_LARGE:
            return too_large(name, limit)
        case Fault.MALFORMED:
            return _garbage(name, reason)
        case Fault.REFUSED:
            return Lost(reason, sent=True, dead=False)
        case Fault.NOT_SENT | Fault.GONE:
            return Lost(reason, sent=False, dead=True)
        case Fault.LOST:
            return Lost(reason, sent=True, dead=False)
        case None if error.code == types.CONNECTION_CLOSED and error.message == _CLOSED:
            return Lost(_BY_ITSELF, sent=True, dead=True)
        case None if error.code == types.INTERNAL_ERROR:
            refused = ToolRefused(f"{name}: {reason or 'no reason given'}", tool=name, outcome="unknown")
            return Lost(reason, sent=True, dead=False, told=refused)
        case None:
            return ToolRefused(f"{name}: {reason or 'no reason given'}", tool=name)


def _garbage(name: str, reason: str) -> Lost:
    told = ToolFailed(f"{name}: {reason}", tool=name, outcome="unknown")
    return Lost(reason, sent=True, dead=False, told=told)
