"""How registered servers are found in use, written into the registry, for the doctor and for other processes."""

from collections.abc import Sequence

from chimera.core.clock import Clock
from chimera.store.servers import ServerStore
from chimera.tools.registry.registry import Registered
from chimera.tools.registry.serving import canary_name


class RegistryHealth:
    """Writes down what a mesh finds. Servers that are not in the registry have nowhere to be written."""

    def __init__(self, servers: Sequence[Registered], store: ServerStore, clock: Clock) -> None:
        served = {found.name: (found, found.current) for found in servers}
        tried = {canary_name(found.name): (found, found.canary) for found in servers if found.canary is not None}
        self._served = served | tried
        self._store = store
        self._clock = clock

    async def note(self, server: str, number: int, unhealthy: str) -> None:
        """An endpoint, by its number in the server's entry, was found well (``unhealthy`` is empty) or not.

        Raises:
            StoreError: it cannot be written now.
        """
        found, version = self._served.get(server, (None, None))
        if found is None or version is None:
            return
        urls = found.entries[version].urls
        place = urls[number] if urls else ""  # as it was registered: an address in use may hold a secret
        health = "down" if unhealthy else "up"
        await self._store.seen(found.name, version, place, health, unhealthy, self._clock.now())
