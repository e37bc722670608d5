"""Between a session and its listing: what is pinned of the server decides which of its tools there are."""

import sys
from collections.abc import Mapping
from urllib.parse import urlsplit

from chimera.core.errors import ChimeraError
from chimera.core.ids import digest
from chimera.tools.mesh.listing import Listing
from chimera.tools.mesh.servers import FIRST_PARTY, ServerSpec
from chimera.tools.registry.formats.mcp_servers import fields
from chimera.tools.registry.gate import PinGate

_UNVERSIONED = "unversioned"


class PinScreen:
    """Passes each listing of a session through the gate. Pins of a server that comes with Chimera are its tests."""

    def __init__(self, gate: PinGate, registered: Mapping[str, tuple[str, str]] | None = None) -> None:
        """``registered``: where servers come from, and which version they are, by name; of others it is found out."""
        self._gate = gate
        self._registered = registered or {}

    async def __call__(self, spec: ServerSpec, listing: Listing) -> Listing:
        """The listing without what is held; that is among ``dropped``, each with why.

        Where what was pinned cannot be known, nothing of the server may be used.
        """
        if _is_ours(spec):
            return listing
        identity, version = self._registered.get(spec.name) or identified(spec)
        try:
            admitted = await self._gate.admit(spec.name, identity, version, list(listing.tools.values()))
        except ChimeraError as error:
            why = f"what was pinned of it cannot be known: {error.message}"
            return Listing({}, {**listing.dropped, **dict.fromkeys(listing.tools, why)})
        return Listing({tool.tool: tool for tool in admitted.tools}, {**listing.dropped, **admitted.held})


def identified(spec: ServerSpec) -> tuple[str, str]:
    """Where a server comes from, and its version, as far as its command or URL says.

    A command that names no package at an exact version is known by all of itself, values of variables left out.
    """
    if spec.url:
        parts = urlsplit(spec.url)
        return f"url:{parts.scheme}://{parts.hostname}:{parts.port or ''}{parts.path.rstrip('/')}", _UNVERSIONED
    try:
        found = fields(spec.name, {"command": spec.command, "args": spec.args})
    except ValueError:
        found = {}
    if package := found.get("package"):
        return f"{package['registry']}:{str(package['name']).lower()}", str(package["version"])
    program = spec.command.rpartition("/")[2]
    return f"command:{program}:{digest(chr(31).join(spec.args))[:16]}", _UNVERSIONED


def _is_ours(spec: ServerSpec) -> bool:
    """Whether it is a server of this very installation; nobody else can give these arguments to this interpreter."""
    return (
        spec.name in FIRST_PARTY
        and spec.command == sys.executable
        and spec.args == ["-P", "-m", f"chimera.tools.servers.{spec.name}"]
    )
