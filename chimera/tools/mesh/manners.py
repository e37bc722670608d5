"""What a server does in a session that no server may: it is refused or dropped as ever, and noted."""

import logging
import re
from collections import deque
from typing import Any

import mcp.shared.session
from mcp import ClientSession, types

OFFENCES_MAX = 10
_WITHDRAWN_MAX = 1_000
_UNKNOWN = re.compile(r"unknown request ID: .{0,80}?\bid='?([0-9]+)")
# What the SDK logs about broken servers goes where the application sends it, and not by default to the terminal. That
# one module logs by functions that give the root logger a handler for the terminal when it has none.
for _name in ("mcp", "client"):
    logging.getLogger(_name).addHandler(logging.NullHandler())
mcp.shared.session.logging = logging.getLogger("mcp.shared.session")  # pyright: ignore[reportPrivateImportUsage]


class Manners:
    """What one session's server did that it should not have."""

    def __init__(self) -> None:
        self.offences: list[str] = []
        self._withdrawn: deque[int] = deque(maxlen=_WITHDRAWN_MAX)

    def withdrew(self, request_id: int) -> None:
        """Nobody wants this answer any more; that it comes all the same is none of the server's fault."""
        self._withdrawn.append(request_id)

    async def unexpected(self, message: object) -> None:
        """Hear what the SDK could do nothing with."""
        found = _UNKNOWN.search(str(message)[:300]) if isinstance(message, Exception) else None
        if found is not None and int(found[1]) not in self._withdrawn:
            self._note("it answered a request that was not made, or was answered before")

    def watch(self, session: ClientSession) -> None:
        """Note what the server asks of us. It is refused, as it would be without: nothing was offered at the start.

        Call it after the start: what a session is given before, it offers to the server.
        """
        session._sampling_callback = self._refusal("sampling")  # pyright: ignore[reportPrivateUsage]
        session._elicitation_callback = self._refusal("elicitation")  # pyright: ignore[reportPrivateUsage]
        session._list_roots_callback = self._refusal("list roots")  # pyright: ignore[reportPrivateUsage]

    def _refusal(self, what: str) -> Any:
        async def refuse(*_: Any) -> types.ErrorData:
            self._note(f"it asked for {what}, which it was not offered")
            return types.ErrorData(code=types.INVALID_REQUEST, message=f"{what.capitalize()} not supported")

        return refuse

    def _note(self, offence: str) -> None:
        if offence not in self.offences and len(self.offences) < OFFENCES_MAX:
            self.offences.append(offence)
