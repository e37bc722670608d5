"""People who log in by a provider of OpenID Connect: which of those who are enrolled somebody is.

A provider says who somebody is; who may come in is said here, by enrolling him. At the first login the name that the
provider gives is looked up among the people of one tenant, and the provider's own subject is bound to who was found.
From then on the subject alone counts: when a provider gives a name or an address to somebody else, he is refused.
"""

from dataclasses import dataclass

from chimera.core.clock import Clock
from chimera.core.errors import InputError, LoginRefused
from chimera.guards.permissions.accounts import Accounts, Login
from chimera.guards.permissions.people import People
from chimera.store.audit import AuditLog
from chimera.store.identities import Bound, IdentityStore
from chimera.store.postgres import Connection, Pool
from chimera.store.principals import Principal, PrincipalStore
from chimera.store.values import as_stored


@dataclass(frozen=True)
class Identity:
    """What a provider says, and signed: ``subject`` never changes there; ``name`` is what people call him."""

    issuer: str
    subject: str
    name: str


class Identities:
    """The identities of an installation. ``tenant``: the one whose people log in so."""

    def __init__(
        self,
        pool: Pool,
        people: People,
        principals: PrincipalStore,
        accounts: Accounts,
        audit: AuditLog,
        clock: Clock,
        tenant: str,
    ) -> None:
        self._pool = pool
        self._people = people
        self._principals = principals
        self._accounts = accounts
        self._audit = audit
        self._clock = clock
        self._tenant = tenant
        self.store = IdentityStore(pool)

    async def login(self, identity: Identity) -> Login:
        """Log in who that is here; bind him, if it is the first time.

        Raises:
            LoginRefused: nobody who is enrolled is that, or somebody else has been that here.
        """
        if [as_stored(identity.subject), as_stored(identity.name)] != [identity.subject, identity.name]:
            raise _nobody()
        bound = await self.store.find(identity.issuer, identity.subject)
        if bound is None:
            return await self._first_login(identity)
        person = await self._human(bound.tenant, bound.name)
        return await self._accounts.vouched(person, by=identity.issuer)

    async def unbind(self, name: str, by: str, *, tenant: str = "default") -> None:
        """Forget who somebody is at providers: his next login from there is a first one.

        Raises:
            GuardRejected: ``by`` may not. InputError: nobody of that name is bound.
        """
        found = await self._principals.find(tenant, name)
        target = self._people.entity(found) if found is not None and found.enrolled else None
        if found is None or target is None:
            raise InputError(f"nobody is enrolled as {name[:60]!r}", remedy="`chimera principal ls` says who is.")
        await self._people.require(by, "principal.key", target, tenant)
        async with self._pool.connection() as connection, connection.transaction():
            if not await self.store.unbind(connection, tenant, name):
                raise InputError(f"{name[:60]!r} has not logged in by a provider")
            await self._audit.append_within(connection, found.told("principal.identity-forgotten", by[:200]))

    async def forget(self, connection: Connection, tenant: str, name: str) -> None:
        """Forget in a transaction who somebody is at providers, as he is removed."""
        await self.store.unbind(connection, tenant, name)

    async def _first_login(self, identity: Identity) -> Login:
        person = await self._human(self._tenant, identity.name)
        bound = Bound(identity.issuer, identity.subject, person.tenant, person.name, self._clock.now())
        async with self._pool.connection() as connection, connection.transaction():
            if not await self.store.bind(connection, bound):
                raise LoginRefused(
                    "somebody else has logged in under that name",
                    remedy="Who may administer people forgets the other one, if it is the same person.",
                )
            told = person.told("principal.identity-bound", person.name, issuer=identity.issuer)
            await self._audit.append_within(connection, told)
        return await self._accounts.vouched(person, by=identity.issuer)

    async def _human(self, tenant: str, name: str) -> Principal:
        person = await self._principals.find(tenant, name)
        if person is None or not person.enrolled or person.kind != "human":
            raise _nobody()
        return person


def _nobody() -> LoginRefused:
    return LoginRefused(
        "nobody is enrolled here under the name that the provider gives",
        remedy="Ask to be enrolled under it: `chimera principal add NAME --role ROLE`.",
    )
