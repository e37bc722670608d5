"""Tenants: each is begun with its first operator, and governed by its own people from then on."""

import re
from collections.abc import Sequence
from typing import Any

from chimera.core.errors import ConflictError, InputError
from chimera.guards.permissions.accounts import Accounts
from chimera.guards.permissions.enrolling import Enrolment
from chimera.guards.permissions.first import OPERATOR
from chimera.guards.permissions.people import People
from chimera.guards.permissions.values import Entity, Uid
from chimera.store.principals import Principal, PrincipalStore

_FORM = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,61}[a-z0-9])?")


class Tenants:
    """The tenants of an installation. Who manages them begins new ones, and has no say in what they do then."""

    def __init__(self, people: People, principals: PrincipalStore, enrolment: Enrolment, accounts: Accounts) -> None:
        self._people = people
        self._principals = principals
        self._enrolment = enrolment
        self._accounts = accounts

    async def listed(self, by: str, tenant: str) -> Sequence[dict[str, Any]]:
        """Every tenant with how many are enrolled there, for somebody of ``tenant``.

        Raises:
            GuardRejected: ``by`` may not manage tenants.
        """
        await self._people.require(by, "tenant.manage", of_tenant(tenant), tenant)
        return await self._principals.tenants()

    async def begin(self, name: str, operator: str, by: str, tenant: str) -> tuple[Principal, str]:
        """Begin a tenant with its operator; return him with what his invitation says.

        ``by``, of ``tenant``, is who begins it.

        Raises:
            GuardRejected: ``by`` may not manage tenants. InputError: a name that is none. ConflictError: there is a
                tenant of that name.
        """
        await self._people.require(by, "tenant.manage", of_tenant(tenant), tenant)
        if not _FORM.fullmatch(name):
            raise InputError(
                f"{name[:60]!r} is no name of a tenant", remedy="Use small letters, digits, and . _ - between them."
            )
        if await self._principals.has_had_people(name):
            raise ConflictError(f"there is a tenant {name!r}", remedy="Choose another name.")
        known_as = f"{by[:100]} of {tenant[:60]}"
        first = await self._enrolment.enrol(operator, "human", [OPERATOR], known_as, tenant=name)
        return first, await self._accounts.written(first, known_as)


def of_tenant(name: str) -> Entity:
    """A tenant as the policies see it."""
    return Entity(Uid("Tenant", name), {"tenant": name})
