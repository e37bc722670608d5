"""Who there is: every principal with its kind, roles, pools and tenant, as the server says and nobody else."""

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from enum import StrEnum

from chimera.core.errors import ConflictError, InputError
from chimera.guards.permissions.model import Model
from chimera.guards.permissions.values import Entity, Uid

FULL_REPUTATION = 100


class Kind(StrEnum):
    """The kinds of principals. Each has roles of its own, and no principal takes a role of another kind."""

    AGENT = "Agent"
    HUMAN = "Human"
    SERVICE = "Service"
    PEER = "Peer"


class Directory:
    """The principals of this process, by id. Ids are compared letter by letter: nothing in them is a pattern."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._known: dict[str, Entity] = {}
        self.find: Callable[[str], Entity | None] = self._known.get
        """The principal with that id. The dictionary's own function: it is asked for every call of every agent."""

    def __len__(self) -> int:
        return len(self._known)

    def enroll(
        self,
        kind: Kind,
        name: str,
        roles: Sequence[str],
        *,
        tenant: str = "default",
        reputation: int = FULL_REPUTATION,
        pool: str | None = None,
    ) -> Entity:
        """Write a principal down, or what has changed about it. Its kind never changes.

        ``reputation``: 0 to 100, of agents and peers. ``pool``: of agents.

        Raises:
            InputError: a role that its kind does not have, or an id that is none. ConflictError: the id is taken by
                a principal of another kind or tenant.
        """
        if not name or name.strip() != name:
            raise InputError(f"{name[:60]!r} is no id of a principal")
        foreign = sorted(set(roles) - set(self._model.roles(kind)))
        if foreign:
            raise InputError(f"a principal of the kind {kind} never has the role {foreign[0][:60]}")
        before = self._known.get(name)
        if before is not None and (before.uid.type, before.attributes["tenant"]) != (kind, tenant):
            raise ConflictError(f"the principal {name[:60]} is known as another one")
        judged = {"reputation": reputation} if kind in (Kind.AGENT, Kind.PEER) else {}
        parents = [Uid(f"{kind}Role", role) for role in roles] + ([Uid("Pool", pool)] if pool else [])
        found = self._model.check(Entity(Uid(str(kind), name), {"tenant": tenant, **judged}, parents))
        self._known[name] = found
        return found

    def withdraw(self, name: str) -> None:
        """Forget a principal: from now on it may do nothing."""
        self._known.pop(name, None)

    @contextmanager
    def enrolled(self, kind: Kind, name: str, roles: Sequence[str], *, tenant: str = "default") -> Generator[Entity]:
        """A principal for as long as it works."""
        try:
            yield self.enroll(kind, name, roles, tenant=tenant)
        finally:
            self.withdraw(name)
