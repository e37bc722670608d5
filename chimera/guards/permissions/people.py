"""What humans, services and peers may do: looked up in Postgres, asked of the policies, and refused on the record."""

from typing import Any

from chimera.core.clock import Clock
from chimera.core.errors import GuardRejected, InputError
from chimera.guards.permissions.authorizer import Authorizer
from chimera.guards.permissions.directory import Directory, Kind
from chimera.guards.permissions.first import FirstStart
from chimera.guards.permissions.permitted import HeldGrants
from chimera.guards.permissions.ruling import Ruling
from chimera.guards.permissions.values import Entity
from chimera.store.audit import AuditEvent, AuditLog
from chimera.store.principals import Principal, PrincipalStore


class People:
    """Who is enrolled, as far as they were looked up, and what the policies say of them."""

    def __init__(
        self,
        authorizer: Authorizer,
        store: PrincipalStore,
        grants: HeldGrants,
        audit: AuditLog,
        clock: Clock,
        first: FirstStart,
    ) -> None:
        self.authorizer = authorizer
        self._store = store
        self._grants = grants
        self._audit = audit
        self._clock = clock
        self._first = first

    @property
    def directory(self) -> Directory:
        """Where what was looked up is kept."""
        return self.authorizer.directory

    async def look(self, tenant: str, name: str) -> Entity | None:
        """Somebody of a tenant, as the table has had it within the last second; an agent of this process is none."""
        if not self.directory.has_read(tenant, name):
            await self._read(tenant, name)
        return self.directory.person(tenant, name)

    async def may(self, by: str, action: str, resource: Entity, tenant: str, **context: Any) -> Ruling:
        """Whether somebody may do something now. It is read anew: who was removed may do nothing at once.

        ``context``: what the schema of the action has besides tenant, hour and threat.

        Raises:
            StoreError: it cannot be known.
        """
        await self._read(tenant, by)
        about = {"tenant": tenant, "hour": self._clock.now().hour, "threat": "none", **context}
        ruling = self.authorizer.allowed(by, action, resource, about)
        if ruling.reason == "no-policy":
            held = await self._grants.held(by, action, (resource.uid.type, resource.uid.id), tenant)
            ruling = self.authorizer.allowed(by, action, resource, about, grants=held)
        return ruling

    async def require(
        self,
        by: str,
        action: str,
        resource: Entity,
        tenant: str,
        *,
        mission_id: str | None = None,
        **context: Any,
    ) -> None:
        """Let pass who may do something; put everybody else on the record.

        Raises:
            GuardRejected: ``by`` is not enrolled, or may not. StoreError: it cannot be known, or not be recorded.
        """
        ruling = await self.may(by, action, resource, tenant, **context)
        if ruling:
            return
        rests_on = f" ({', '.join(ruling.policies)})" if ruling.policies else ""
        data = {
            "action": action,
            "resource_type": resource.uid.type,
            "resource": resource.uid.id,
            "principal": by[:200],
            "reason": ruling.reason + rests_on,
        }
        await self._audit.append(
            AuditEvent(kind="permission.refused", actor=by[:200], mission_id=mission_id, tenant=tenant, data=data)
        )
        raise _refusal(by, action, tenant, ruling, rests_on)

    async def _read(self, tenant: str, name: str) -> None:
        found = await self._store.find(tenant, name)
        if found is None and self._first.concerns(name):
            await self._first.enrol(tenant)
            found = await self._store.find(tenant, name)
        self.directory.read(tenant, name, self.entity(found) if found and found.enrolled else None)

    def entity(self, principal: Principal) -> Entity | None:
        """Somebody as the policies see it. A role that there no longer is gives nothing."""
        kind = kind_named(principal.kind)
        roles = [role for role in principal.roles if role in self.directory.roles(kind)]
        try:
            return self.directory.entity(
                kind, principal.name, roles, tenant=principal.tenant, reputation=principal.reputation
            )
        except InputError:  # a name that no policy could read: nobody may do anything under it
            return None


def kind_named(name: str) -> Kind:
    """The kind that the table and the command line call ``human``, ``service`` or ``peer``."""
    return Kind[name.upper()]


def _refusal(by: str, action: str, tenant: str, ruling: Ruling, rests_on: str) -> GuardRejected:
    where = "" if tenant == "default" else f" in the tenant {tenant[:60]}"
    if ruling.reason == "unknown-principal":
        return GuardRejected(
            f"{by[:60]!r} is not enrolled{where} and decides nothing",
            remedy="`chimera principal add NAME --role ROLE` enrols somebody; `chimera principal ls` lists all.",
        )
    remedy = "`chimera principal ls` says who has which role; somebody else has to decide this."
    if "policy.four-eyes" in ruling.policies:
        remedy = "Put it forward in a name, `chimera policy propose FILE --by NAME`, and let somebody else approve it."
    return GuardRejected(f"{by[:60]!r} may not do {action}{where}: {ruling.reason}{rests_on}", remedy=remedy)
