"""Compares what a server offers with what was pinned of it, and lets through what a human need not look at first."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from chimera.core.clock import Clock
from chimera.store.audit import AuditEvent, AuditLog
from chimera.store.pins import PinStore
from chimera.store.postgres import Pool
from chimera.tools.capability import Capability
from chimera.tools.registry.pins import Comparison, compare, definition, fingerprint, listing_digest

ITSELF = "registry"
"""Who pins what nobody had to be asked about, on the record."""
Definitions = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Found:
    """What a server says instead of what was pinned, ready to be put before a human. ``digest`` names all of it."""

    server: str
    identity: str
    version: str
    digest: str
    changes: list[dict[str, Any]]
    definitions: Definitions

    def plain(self) -> dict[str, Any]:
        """It as JSON data."""
        return {**vars(self), "definitions": {name: dict(found) for name, found in self.definitions.items()}}


class Questions(Protocol):
    """Where a human is asked about tools that changed."""

    async def put_forward(self, found: Found, *, again: bool = False) -> str:
        """Put it before a human, unless it was, and say how it stands, as the end of a sentence."""
        ...


@dataclass(frozen=True)
class Admitted:
    """The tools that may be used, and why others may not, by the server's own names."""

    tools: list[Capability]
    held: dict[str, str]


class PinGate:
    """Pins what is new and harmless, and holds back what changed."""

    def __init__(self, pool: Pool, pins: PinStore, audit: AuditLog, clock: Clock, questions: Questions) -> None:
        self._pool = pool
        self.pins = pins
        self._audit = audit
        self._clock = clock
        self._questions = questions

    async def admit(
        self, server: str, identity: str, version: str, tools: Sequence[Capability], *, again: bool = False
    ) -> Admitted:
        """Judge a listing of one version of a server. ``again``: ask also about what was rejected before.

        A version that is new inherits the pins of the one that was pinned last, so that a new version number is no way
        around them.

        Raises:
            StoreError: what was pinned cannot be known; then nothing of the server may be used.
        """
        now = {tool.tool: definition(tool) for tool in tools}
        pinned = await self.pins.pinned(identity, version) or await self._inherit(server, identity, version)
        comparison = compare(pinned, now)
        if comparison.unpinned:
            await self._pin(server, identity, version, {name: now[name] for name in comparison.unpinned}, "offered")
            # Somebody else may have pinned the same tools at the same moment, as the server said it to him.
            comparison = compare(await self.pins.pinned(identity, version), now)
        held = comparison.held
        if held:
            standing = await self._ask(server, identity, version, now, comparison, again)
            held = {name: f"{why}; {standing}" for name, why in held.items()}
        return Admitted([tool for tool in tools if tool.tool not in held], held)

    async def _inherit(self, server: str, identity: str, version: str) -> Definitions:
        before = await self.pins.nearest(identity)
        if before:
            await self._pin(server, identity, version, before, "inherited")
        return before

    async def _pin(self, server: str, identity: str, version: str, found: Definitions, how: str) -> None:
        digests = {name: (fingerprint(defined), defined) for name, defined in found.items()}
        told = {"server": server, "identity": identity, "version": version, "how": how, "tools": sorted(found)}
        async with self._pool.connection() as connection, connection.transaction():
            await self.pins.pin(connection, identity, version, digests, ITSELF, self._clock.now())
            await self._audit.append_within(connection, AuditEvent(kind="tools.pinned", actor=ITSELF, data=told))

    async def _ask(
        self, server: str, identity: str, version: str, now: Definitions, comparison: Comparison, again: bool
    ) -> str:
        found = Found(
            server=server,
            identity=identity,
            version=version,
            digest=listing_digest(identity, version, now),
            changes=[change.plain() for change in comparison.changes],
            definitions=now,
        )
        return await self._questions.put_forward(found, again=again)
