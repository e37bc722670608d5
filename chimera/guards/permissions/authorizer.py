"""May this principal do that? Answered from memory, for every call of every agent."""

from collections.abc import Mapping, Sequence
from typing import Any

from chimera.core.clock import Clock
from chimera.guards.permissions.directory import Directory
from chimera.guards.permissions.policies import Policies
from chimera.guards.permissions.ruling import UNREADABLE, Ruling
from chimera.guards.permissions.values import Entity
from chimera.store.grants import Grant

UNKNOWN_PRINCIPAL = Ruling(False, reason="unknown-principal", engine="none")
FORGED_ROLE = Ruling(False, reason="forged-role", engine="none")
UNKNOWN_ACTION = Ruling(False, reason="unknown-action", engine="none")
NO_POLICY = Ruling(False, reason="no-policy")
NOT_FOR_THIS_KIND = Ruling(False, reason="not-for-this-kind", engine="none")


class Authorizer:
    """Policies, principals and the time. A new set of policies takes effect between two questions."""

    def __init__(self, policies: Policies, directory: Directory, clock: Clock) -> None:
        self._policies = policies
        self._decide = policies.table.decide
        self._directory = directory
        self._find = directory.find
        self._clock = clock

    @property
    def policies(self) -> Policies:
        """The policies in force."""
        return self._policies

    @property
    def directory(self) -> Directory:
        """Who there is."""
        return self._directory

    def reload(self, text: str) -> Policies:
        """Put another set of policies in force.

        Raises:
            PolicyInvalid: it cannot be used; what was in force stays in force.
        """
        self._policies = Policies(text, self._policies.model)
        self._decide = self._policies.table.decide
        return self._policies

    def allowed(
        self,
        principal: str,
        action: str,
        resource: Entity,
        context: Mapping[str, Any],
        *,
        claimed_role: str = "",
        grants: Sequence[Grant] = (),
    ) -> Ruling:
        """Whether a principal may do an action with a resource. No I/O; default deny.

        Roles come from the directory alone. ``claimed_role`` is what the request says of itself: it gives nothing, and
        a claim that the directory does not know denies. ``context``: plain ``str``, ``int``, ``bool`` and sets of them,
        as the schema of the action has it. ``grants`` are the grants that the principal was given; a forbid beats them.
        A policy that has no value for this request denies: what it would have said is not known.
        """
        known = self._find(principal)
        if known is None:  # no agent of this process: somebody of the tenant that it is about, if it was looked up
            known = self._directory.person(str(context.get("tenant")), principal)
            if known is None:
                return UNKNOWN_PRINCIPAL
        if claimed_role and claimed_role not in known.roles:
            return FORGED_ROLE
        ruling = self._decide(known, action, resource, context)
        if ruling.policies and not ruling.faulty:
            return ruling  # of policies: no grant lifts what they forbid
        denied = self._denied(known, action, resource, ruling)
        # Asked with `is`: a denial is false by itself, and no grant may stand in for it.
        return denied if denied is not None else self._granted(principal, action, resource, grants)

    def _denied(self, known: Entity, action: str, resource: Entity, ruling: Ruling) -> Ruling | None:
        """The denial that no grant can lift, where no policy says anything, or one cannot say it."""
        model = self._policies.model
        if not model.applies(known.kind, action, resource.kind):
            return NOT_FOR_THIS_KIND if model.knows(action) else UNKNOWN_ACTION
        if ruling.faulty:
            return ruling._replace(allowed=False, reason="policy-without-value")
        return ruling if ruling.reason == UNREADABLE else None

    def _granted(self, principal: str, action: str, resource: Entity, grants: Sequence[Grant]) -> Ruling:
        """What the grants say where no policy says anything."""
        if not grants:
            return NO_POLICY
        mine = [grant for grant in grants if grant.covers(principal, action, resource.uid.type, resource.uid.id)]
        now = self._clock.now()
        states = [grant.state(now) for grant in mine]
        if "active" in states:
            return Ruling(True, grant=mine[states.index("active")].id)
        return Ruling(False, reason=f"grant-{states[0]}") if states else NO_POLICY
