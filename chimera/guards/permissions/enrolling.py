"""Enrolling humans, services and peers, and removing them: asked of the policies, and on the record."""

import unicodedata
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

from chimera.core.clock import Clock
from chimera.core.errors import ConflictError, InputError
from chimera.guards.permissions.first import OPERATOR
from chimera.guards.permissions.people import People, kind_named
from chimera.store.audit import AuditLog
from chimera.store.keys import KeyStore
from chimera.store.postgres import Connection
from chimera.store.principals import FULL_REPUTATION, Principal, PrincipalKind, PrincipalStore, named
from chimera.store.values import as_stored

NAME_MAX = 200
_OF_MACHINES = ("agent:", "pool:", "team:", "tool:", "task:")
"""How the names of what runs in missions begin; nobody who is enrolled may be taken for one of those."""
Forget = Callable[[Connection, str, str], Awaitable[None]]
"""Forgets in a transaction what somebody of a tenant logs in with."""


class Enrolment:
    """Changes who there is in a tenant."""

    def __init__(
        self,
        people: People,
        store: PrincipalStore,
        keys: KeyStore,
        logins: Sequence[Forget],
        audit: AuditLog,
        clock: Clock,
    ) -> None:
        self._people = people
        self._store = store
        self._keys = keys
        self._logins = logins
        self._audit = audit
        self._clock = clock

    async def enrol(
        self,
        name: str,
        kind: PrincipalKind,
        roles: Sequence[str],
        by: str,
        *,
        tenant: str = "default",
        reputation: int = FULL_REPUTATION,
    ) -> Principal:
        """Enrol somebody, again or with other roles too. A tenant's first one is a human operator, and asks nobody.

        Raises:
            GuardRejected: ``by`` may not enrol. InputError: a name that is none, or a role that the kind does not have.
            ConflictError: somebody of another kind has the name, or nobody would be left who may enrol.
        """
        _check_name(name)
        at = self._clock.now()
        wanted = Principal(tenant, name, kind, tuple(dict.fromkeys(roles)), at, by[:NAME_MAX], reputation)
        await self._people.look(tenant, by)  # the local user is there from the first look on
        is_first = not await self._store.has_had_people(tenant)
        # Made here for its checks: a role of another kind, a name or tenant that no policy can read.
        target = self._people.directory.entity(
            kind_named(kind), name, wanted.roles, tenant=tenant, reputation=reputation
        )
        if is_first:
            _check_first(wanted)
        else:
            await self._people.require(by, "principal.enrol", target, tenant)
        async with self._store.changing(tenant) as (connection, there):
            if is_first and any(one.kind == "human" for one in there):
                raise ConflictError("somebody else was enrolled first", remedy="`chimera principal ls` says who.")
            before = named(there, name)
            if before is not None and before.kind != kind:
                raise ConflictError(f"{name[:60]!r} is the name of a {before.kind}", remedy="Choose another name.")
            if before is not None and before.enrolled and _same(before, wanted):
                return before
            _check_left([*(one for one in there if one.name != name), wanted], there)
            await self._store.write(connection, wanted)
            more = {"roles_before": list(before.roles)} if before is not None and before.enrolled else {}
            await self._audit.append_within(connection, wanted.told("principal.enrolled", by[:NAME_MAX], **more))
        self._people.directory.read(tenant, name, target)
        return wanted

    async def remove(self, name: str, by: str, *, tenant: str = "default", reason: str = "") -> Principal:
        """Remove somebody: he may do nothing from then on, and no key, password or session of his ever counts again.

        What he decided stays on the record.

        Raises:
            GuardRejected: ``by`` may not remove. InputError: nobody of that name is enrolled.
            ConflictError: nobody would be left who may enrol others.
        """
        found = await self._store.find(tenant, name)
        target = self._people.entity(found) if found is not None and found.enrolled else None
        if found is None or target is None:
            raise InputError(f"nobody is enrolled as {name[:60]!r}", remedy="`chimera principal ls` says who is.")
        await self._people.require(by, "principal.remove", target, tenant)
        async with self._store.changing(tenant) as (connection, there):
            before = named(there, name)
            if before is None or not before.enrolled:
                raise ConflictError(f"{name[:60]!r} was removed before")
            gone = replace(before, removed_at=self._clock.now(), removed_by=by[:NAME_MAX])
            _check_left([*(one for one in there if one.name != name), gone], there)
            await self._store.write(connection, gone)
            for forget in self._logins:
                await forget(connection, tenant, name)
            revoked = await self._keys.revoke_all(connection, tenant, name, by[:NAME_MAX], self._clock.now())
            more = {"reason": reason[:4_000]} if reason else {}
            await self._audit.append_within(
                connection,
                gone.told("principal.removed", by[:NAME_MAX], **more),
                *(key.told("principal.key-revoked", by[:NAME_MAX]) for key in revoked),
            )
        self._people.directory.read(tenant, name, None)
        return gone


def _check_name(name: str) -> None:
    """Let a name pass that is what it looks like.

    Raises:
        InputError: it is not.
    """
    seen = unicodedata.normalize("NFKC", name)
    hidden = any(unicodedata.category(char)[0] == "C" for char in name)
    if not name.strip() or name.strip() != name or len(name) > NAME_MAX or seen != name or hidden:
        raise InputError(
            f"{as_stored(name[:60])!r} is no name: it is empty, too long, or has characters that nobody sees"
        )
    if name.casefold().startswith(_OF_MACHINES):
        raise InputError(f"{name[:60]!r} is how an agent could be called", remedy="Choose another name.")


def _check_first(wanted: Principal) -> None:
    if wanted.kind != "human" or OPERATOR not in wanted.roles:
        raise InputError(
            "the first one who is enrolled is a human with the role operator: nobody else could enrol others",
            remedy=f"`chimera principal add NAME --role {OPERATOR}` first.",
        )


def _check_left(after: Sequence[Principal], before: Sequence[Principal]) -> None:
    """Let a change pass after which there is an operator, if there was one."""
    if any(map(_is_operator, before)) and not any(map(_is_operator, after)):
        raise ConflictError(
            "nobody would be left who may enrol others", remedy="Enrol another operator first: `chimera principal add`."
        )


def _is_operator(one: Principal) -> bool:
    return one.enrolled and one.kind == "human" and OPERATOR in one.roles


def _same(one: Principal, other: Principal) -> bool:
    return (one.roles, one.reputation) == (other.roles, other.reputation)
