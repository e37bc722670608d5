"""Who there is: every principal with its kind, roles, pools and tenant, as the server says and nobody else.

Agents are here for as long as they work. Humans, services and peers are enrolled in Postgres; what was read of them is
believed for a second (see ``People``), so that a change made anywhere counts everywhere.
"""

from collections import OrderedDict
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from enum import StrEnum

from chimera.core.clock import Clock, SystemClock
from chimera.core.errors import ConflictError, InputError
from chimera.guards.permissions.model import Model
from chimera.guards.permissions.values import Entity, Uid

FULL_REPUTATION = 100
FRESH_S = 1.0
"""How old what was read of the table of principals may be."""
PEOPLE_KEPT = 10_000


class Kind(StrEnum):
    """The kinds of principals. Each has roles of its own, and no principal takes a role of another kind."""

    AGENT = "Agent"
    HUMAN = "Human"
    SERVICE = "Service"
    PEER = "Peer"


class Directory:
    """The principals of this process, by id. Ids are compared letter by letter: nothing in them is a pattern."""

    def __init__(self, model: Model, clock: Clock | None = None, people_kept: int = PEOPLE_KEPT) -> None:
        self._model = model
        self._clock = clock or SystemClock()
        self._people_kept = people_kept
        self._people: OrderedDict[tuple[str, str], tuple[float, Entity | None]] = OrderedDict()
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
        before = self._known.get(name)
        if before is not None and (before.uid.type, before.attributes["tenant"]) != (kind, tenant):
            raise ConflictError(f"the principal {name[:60]} is known as another one")
        found = self.entity(kind, name, roles, tenant=tenant, reputation=reputation, pool=pool)
        self._known[name] = found
        return found

    def entity(
        self,
        kind: Kind,
        name: str,
        roles: Sequence[str],
        *,
        tenant: str = "default",
        reputation: int = FULL_REPUTATION,
        pool: str | None = None,
    ) -> Entity:
        """A principal as the policies see it, written down nowhere.

        Raises:
            InputError: a role that its kind does not have, or an id that is none.
        """
        if not name or name.strip() != name:
            raise InputError(f"{name[:60]!r} is no id of a principal")
        foreign = sorted(set(roles) - set(self._model.roles(kind)))
        if foreign:
            raise InputError(
                f"a principal of the kind {kind} never has the role {foreign[0][:60]!r}",
                remedy=f"Its roles are: {', '.join(self._model.roles(kind))}.",
            )
        judged = {"reputation": reputation} if kind in (Kind.AGENT, Kind.PEER) else {}
        parents = [Uid(f"{kind}Role", role) for role in roles] + ([Uid("Pool", pool)] if pool else [])
        return self._model.check(Entity(Uid(str(kind), name), {"tenant": tenant, **judged}, parents))

    def withdraw(self, name: str) -> None:
        """Forget a principal: from now on it may do nothing."""
        self._known.pop(name, None)

    def roles(self, kind: Kind) -> Sequence[str]:
        """The roles that a kind of principal can have."""
        return self._model.roles(kind)

    # --- humans, services and peers, as they were read -----------------------------------------------------------

    def person(self, tenant: str, name: str) -> Entity | None:
        """What was read of somebody within the last second; None when nobody is enrolled, or nobody has looked."""
        found = self._people.get((tenant, name))
        return found[1] if found is not None and self._is_fresh(found[0]) else None

    def has_read(self, tenant: str, name: str) -> bool:
        """Whether somebody was looked up within the last second, with whatever answer."""
        found = self._people.get((tenant, name))
        return found is not None and self._is_fresh(found[0])

    def read(self, tenant: str, name: str, entity: Entity | None) -> None:
        """Note what was just read of somebody. The one that was looked up longest ago gives way."""
        self._people[tenant, name] = (self._clock.monotonic(), entity)
        self._people.move_to_end((tenant, name))
        while len(self._people) > self._people_kept:
            self._people.popitem(last=False)

    def _is_fresh(self, at: float) -> bool:
        return 0 <= self._clock.monotonic() - at < FRESH_S

    @contextmanager
    def enrolled(self, kind: Kind, name: str, roles: Sequence[str], *, tenant: str = "default") -> Generator[Entity]:
        """A principal for as long as it works."""
        try:
            yield self.enroll(kind, name, roles, tenant=tenant)
        finally:
            self.withdraw(name)
