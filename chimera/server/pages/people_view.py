"""Who there is in a tenant as the administration shows it: people with their logins, and everybody's keys."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from chimera.guards.oversight import Oversight
from chimera.guards.permissions.directory import Kind
from chimera.server.pages.visitors import Visitor
from chimera.store.keys import Key
from chimera.store.principals import Principal


@dataclass(frozen=True)
class Enrolled:
    """Somebody with what he comes in with. ``choices``: the roles that he could have; ``keys``: those that count."""

    who: Principal
    choices: Sequence[str]
    has_password: bool
    has_identity: bool
    sessions: int
    keys: int


@dataclass(frozen=True)
class IssuedKey:
    """A key, and whether it counts."""

    key: Key
    counts: bool


async def enrolled(oversight: Oversight, visitor: Visitor, now: datetime) -> list[Enrolled]:
    """Everybody who is enrolled in the visitor's tenant.

    Raises:
        GuardRejected: the visitor may not see it.
    """
    await _may_read(oversight, visitor)
    tenant = visitor.tenant
    passwords, sessions = await oversight.accounts.logins(tenant)
    identities = await oversight.identities.store.names(tenant)
    keys = [key.principal for key in await oversight.keys.listed(tenant) if key.counts(now)]
    roles = {kind: oversight.directory.roles(kind) for kind in (Kind.HUMAN, Kind.SERVICE, Kind.PEER)}
    return [
        Enrolled(
            who,
            roles[Kind[who.kind.upper()]],
            who.name in passwords,
            who.name in identities,
            sessions.get(who.name, 0),
            keys.count(who.name),
        )
        for who in await oversight.principals.listed(tenant)
    ]


async def issued_keys(oversight: Oversight, visitor: Visitor, now: datetime) -> list[IssuedKey]:
    """The keys of the visitor's tenant: those that count, then those that do not any more, the newest first.

    Raises:
        GuardRejected: the visitor may not see it.
    """
    await _may_read(oversight, visitor)
    found = [IssuedKey(key, key.counts(now)) for key in await oversight.keys.listed(visitor.tenant)]
    found.reverse()
    return sorted(found, key=lambda one: not one.counts)


async def _may_read(oversight: Oversight, visitor: Visitor) -> None:
    await oversight.people.require(visitor.name, "principal.read", visitor.caller.of_tenant(), visitor.tenant)
