"""Who calls the server: a principal that a key belongs to, or the local user on stdio; and how often each may."""

from dataclasses import dataclass

from chimera.core.clock import Clock
from chimera.core.errors import CallerBusy
from chimera.guards.permissions.keys import Keys
from chimera.guards.permissions.values import Entity, Uid
from chimera.models.limits import BURST_MS, Buckets, LocalBuckets
from chimera.store.principals import PrincipalKind

AT_ONCE = 20
"""Requests that may come at once under any limit: a client greets with several."""


@dataclass(frozen=True)
class Caller:
    """Somebody whom the server knows. ``key``: the id of the key that was shown, if one was.

    Tenant and name come from the table of principals; nothing that a request says can change them. ``reads_here``: the
    user of this machine whose process this is, so that he can read its files anyway.
    """

    tenant: str
    name: str
    kind: PrincipalKind
    key: str = ""
    reads_here: bool = False

    def of_tenant(self) -> Entity:
        """The caller's tenant as the policies see it."""
        return Entity(Uid("Tenant", self.tenant), {"tenant": self.tenant})


class Callers:
    """Knows callers by their keys, and counts their calls over all processes."""

    def __init__(self, keys: Keys, per_minute: int, clock: Clock, shared: Buckets | None = None) -> None:
        self._keys = keys
        self._per_minute = per_minute
        self._local = LocalBuckets(clock)
        self._shared = shared

    async def known(self, key: str) -> Caller:
        """Whose key that is, if it counts and its owner has calls left.

        Raises:
            CallerUnknown: it is no key that counts. CallerBusy: too many calls; ``context["wait_s"]`` says how long.
            StoreError: it cannot be known.
        """
        owner, found = await self._keys.owner(key)
        wait = await self._take(f"{owner.tenant}:{owner.name}")
        if wait > 0:
            raise CallerBusy(f"more than {self._per_minute} calls a minute", wait_s=wait)
        return Caller(owner.tenant, owner.name, owner.kind, found.id)

    async def _take(self, name: str) -> float:
        burst = max(BURST_MS, AT_ONCE * 60_000 // self._per_minute)
        shared = await self._shared.take(name, self._per_minute, 0, 0, burst) if self._shared is not None else None
        return await self._local.take(name, self._per_minute, 0, 0, burst) or 0.0 if shared is None else shared
