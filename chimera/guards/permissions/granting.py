"""Giving permissions for a time, by those who may give them, to those who may ever have them."""

from datetime import datetime, timedelta

from chimera.core.clock import Clock
from chimera.core.errors import InputError
from chimera.guards.permissions.people import People
from chimera.guards.permissions.values import Entity
from chimera.store.grants import Grant, GrantStore

LONGEST = timedelta(hours=24)
"""A permission that is needed for longer belongs into the policies, where it is reviewed."""


class Granting:
    """Asks the policies before it gives a permission or takes one back."""

    def __init__(self, people: People, store: GrantStore, clock: Clock) -> None:
        self._people = people
        self._store = store
        self._clock = clock

    async def give(
        self,
        principal: str,
        action: str,
        resource: tuple[str, str],
        expires_at: datetime,
        by: str,
        reason: str,
        *,
        tenant: str = "default",
    ) -> Grant:
        """Let a principal do one action with one resource (type, id) until ``expires_at``, as ``by`` decided.

        The principal is an agent of this process, or somebody who is enrolled in the tenant, as ``by`` is.

        Raises:
            GuardRejected: ``by`` may not give it. InputError: nobody could: there is no such principal, its kind
                can never do that, or it would last too long. StoreError: it was not given.
        """
        grantee = await self._may(by, principal, tenant)
        if not self._people.authorizer.policies.model.applies(grantee.uid.type, action, resource[0]):
            raise InputError(
                f"a principal of the kind {grantee.uid.type} can never do {action[:60]} with {resource[0]}"
            )
        if expires_at - self._clock.now() > LONGEST:
            raise InputError(f"a grant ends within {LONGEST.total_seconds() / 3600:.0f} hours")
        return await self._store.grant(principal, action, resource, expires_at, by, reason, tenant=tenant)

    async def take_back(self, grant: Grant, by: str, reason: str = "") -> Grant:
        """Revoke a grant; whoever may give one to that principal may take it back.

        Raises:
            GuardRejected: ``by`` may not. StoreError: it may still count.
        """
        await self._may(by, grant.principal, grant.tenant)
        return await self._store.revoke(grant.id, by, reason)

    async def _may(self, by: str, principal: str, tenant: str) -> Entity:
        await self._people.look(tenant, principal)
        grantee = self._people.directory.find(principal) or self._people.directory.person(tenant, principal)
        if grantee is None:
            raise InputError(f"there is no principal {principal[:60]!r}")
        await self._people.require(by, "permission.grant", grantee, tenant)
        return grantee
