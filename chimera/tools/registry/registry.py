"""The registry: servers and their versions side by side, which of them serves whom, and the way back."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from chimera.core.clock import Clock
from chimera.core.errors import ConflictError, InputError
from chimera.core.ids import digest
from chimera.store.audit import AuditEvent, AuditLog
from chimera.store.postgres import Connection, Pool
from chimera.store.servers import ServerStore
from chimera.tools.registry.model import Offer, ServerEntry

WHOLE = 10_000
"""All agents, in hundredths of a percent."""
SHORT = 80


@dataclass(frozen=True)
class Registered:
    """A server as it stands: every version of it, which serves, and which is tried with a share of the agents."""

    name: str
    identity: str
    category: str
    current: str
    previous: str | None
    canary: str | None
    canary_bp: int
    enabled: bool
    entries: dict[str, ServerEntry]
    replicas: dict[str, list[dict[str, Any]]]

    def version_for(self, agent: str) -> str:
        """The version that an agent gets: always the same one while the share stays, and kept when it grows."""
        if self.canary is None:
            return self.current
        place = int(digest(f"{self.name}\x1f{self.canary}\x1f{agent}")[:8], 16) % WHOLE
        return self.canary if place < self.canary_bp else self.current

    def plain(self) -> dict[str, Any]:
        """The server as JSON data."""
        return {
            **{name: value for name, value in vars(self).items() if name != "entries"},
            "versions": list(self.entries),
            "spec": self.entries[self.current].plain(),
        }


class Registry:
    """Adds servers and versions, and says which version serves. Every change is on the record."""

    def __init__(self, pool: Pool, audit: AuditLog, clock: Clock) -> None:
        self.store = ServerStore(pool)
        self._pool = pool
        self._audit = audit
        self._clock = clock

    async def add(self, entry: ServerEntry, by: str) -> bool:
        """Register a version of a server; False when exactly this was registered before.

        The first version of a server serves at once. Another one stands beside it until it is chosen.

        Raises:
            ConflictError: the name is taken by another server, or the version by another content.
        """
        at, spec = self._clock.now(), entry.plain()
        async with self._pool.connection() as connection, connection.transaction():
            await self.store.insert(connection, entry.name, entry.identity, entry.category, entry.version, at)
            row = await self.store.holder(connection, entry.name)
            if row is None or row["identity"] != entry.identity:
                other = row["identity"] if row else "nothing"
                raise ConflictError(
                    f"{entry.name} is registered for {other[:SHORT]}, and this is {entry.identity[:SHORT]}",
                    remedy="Give it another name: `chimera tools add ... --as NAME`.",
                )
            if not await self.store.add_version(connection, entry.name, entry.version, spec, by, at):
                return await self._same(connection, entry)
            await self.store.offer(connection, entry.name, entry.version, [_row(entry, o) for o in entry.offers], at)
            told = {"server": entry.name, "version": entry.version, "identity": entry.identity}
            told["source"] = entry.origin.source
            await self._audit.append_within(connection, AuditEvent(kind="tools.added", actor=by, data=told))
        return True

    async def _same(self, connection: Connection, entry: ServerEntry) -> bool:
        cursor = await connection.execute(
            "SELECT spec FROM tool_versions WHERE server = %s AND version = %s", (entry.name, entry.version)
        )
        row = await cursor.fetchone()
        known = ServerEntry.model_validate(row["spec"]) if row else entry
        if _reached(known) != _reached(entry):
            raise ConflictError(
                f"{entry.name} {entry.version} is registered with another command, endpoint or environment",
                remedy="A version is never changed; register it under another name, or give a new version.",
            )
        return False

    async def find(self, name: str) -> Registered:
        """A server with all its versions.

        Raises:
            InputError: there is none of that name.
        """
        return await self._whole(await self.store.find(name))

    async def all(self) -> list[Registered]:
        """Every server, by name."""
        return [await self._whole(row) for row in await self.store.listed()]

    async def _whole(self, row: Mapping[str, Any]) -> Registered:
        versions = await self.store.versions(row["name"])
        kept = ("name", "identity", "category", "current", "previous", "canary", "canary_bp", "enabled")
        return Registered(
            **{name: row[name] for name in kept},
            entries={found["version"]: ServerEntry.model_validate(found["spec"]) for found in versions},
            replicas={found["version"]: found["replicas"] for found in versions},
        )

    # --- which version serves ------------------------------------------------------------------------------------

    async def choose(self, name: str, version: str, by: str, *, share: float | None = None) -> Registered:
        """Let a version serve everybody, or try it with ``share`` percent of the agents.

        Raises:
            InputError: there is no such server or version, or the share is none.
        """
        found = await self.find(name)
        if version not in found.entries:
            known = ", ".join(found.entries)
            raise InputError(f"{name} has no version {version[:40]!r}", remedy=f"It has {known}.")
        if share is not None and not 0 < share <= 100:
            raise InputError("a share is above 0 and at most 100 percent", remedy="For all, leave it out.")
        if share is None:
            before = found.current if found.current != version else found.previous
            await self._route(found, by, "chosen", current=version, previous=before)
        else:
            if version == found.current:
                raise InputError(f"{name} {version} serves already", remedy="Name the version that is to be tried.")
            await self._route(found, by, "tried", canary=version, canary_bp=round(share * 100))
        return await self.find(name)

    async def rollback(self, name: str, by: str) -> Registered:
        """End a trial; without one, go back to the version that served before.

        Raises:
            InputError: there is no such server, or nothing to go back to.
        """
        found = await self.find(name)
        if found.canary is not None:
            await self._route(found, by, "trial ended")
        elif found.previous is not None:
            await self._route(found, by, "rolled back", current=found.previous, previous=found.current)
        else:
            raise InputError(
                f"{name} has had no version before {found.current}", remedy="There is nothing to go back to."
            )
        return await self.find(name)

    async def _route(
        self,
        found: Registered,
        by: str,
        how: str,
        *,
        current: str | None = None,
        previous: str | None = None,
        canary: str | None = None,
        canary_bp: int = 0,
    ) -> None:
        now = current or found.current
        before = previous if current is not None else found.previous
        told = {"server": found.name, "how": how, "serves": now, "served": found.current, "canary": canary or ""}
        told["share"] = f"{canary_bp / 100:g} %"
        at = self._clock.now()
        async with self._pool.connection() as connection, connection.transaction():
            row = await self.store.holder(connection, found.name)
            if row is None or (row["current"], row["canary"]) != (found.current, found.canary):
                raise ConflictError(f"{found.name} was changed in the meantime")
            await self.store.route(
                connection, found.name, at, current=now, previous=before, canary=canary, canary_bp=canary_bp
            )
            await self._audit.append_within(connection, AuditEvent(kind="tools.routed", actor=by, data=told))

    async def enable(self, name: str, by: str, *, enabled: bool) -> None:
        """Let a server be used, or not.

        Raises:
            InputError: there is none of that name.
        """
        await self.store.find(name)
        told = {"server": name, "how": "enabled" if enabled else "disabled"}
        async with self._pool.connection() as connection, connection.transaction():
            await self.store.enable(connection, name, enabled, self._clock.now())
            await self._audit.append_within(connection, AuditEvent(kind="tools.routed", actor=by, data=told))


def _reached(entry: ServerEntry) -> dict[str, Any]:
    """What decides what runs, and with what."""
    kept = ("transport", "package", "command", "args", "env", "urls", "headers", "auth")
    return {name: value for name, value in entry.plain().items() if name in kept}


def _row(entry: ServerEntry, offer: Offer) -> dict[str, Any]:
    cost = offer.cost or entry.cost
    return {
        "kind": offer.kind,
        "name": offer.name,
        "definition": {
            "description": offer.description,
            "input_schema": offer.input_schema,
            "output_schema": offer.output_schema,
        },
        "read_only": offer.read_only,
        "idempotent": offer.idempotent,
        "destructive": offer.destructive and not offer.read_only,
        "risk": offer.risk or entry.risk,
        "cost_units": cost.units if cost else 0,
        "cost_asset": cost.asset if cost else "",
    }
