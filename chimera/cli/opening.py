"""What the commands open: the whole swarm to run missions, or only the records to look at them.

The records alone take a fraction of the time, because graphs, models and tools need not be imported.
"""

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from chimera.cli.view.output import stderr

if TYPE_CHECKING:
    from chimera.core.settings import Settings
    from chimera.guards.oversight import Oversight
    from chimera.review.queue import ReviewQueue
    from chimera.store.audit import AuditLog
    from chimera.store.missions import MissionStore
    from chimera.store.postgres import Pool
    from chimera.swarm import ChimeraSwarm
    from chimera.tools.artifacts import ArtifactStore


@dataclass(frozen=True)
class Records:
    """The records of an installation, open."""

    settings: "Settings"
    pool: "Pool"
    missions: "MissionStore"
    reviews: "ReviewQueue"
    audit: "AuditLog"
    artifacts: "ArtifactStore"

    def oversight(self) -> "Oversight":
        """The services with which people govern; made when asked for, as the permissions take a moment to read."""
        from chimera.core.clock import SystemClock
        from chimera.core.ids import random_ids
        from chimera.guards.oversight import oversee

        return oversee(self.settings, self.pool, self.reviews, self.audit, SystemClock(), random_ids())


@asynccontextmanager
async def open_records(settings: "Settings | None" = None) -> AsyncGenerator[Records]:
    """Open the records, starting the embedded database where none is configured.

    Raises:
        ConfigError: the settings cannot work. StoreError: the database cannot be used.
    """
    from chimera.core.clock import SystemClock
    from chimera.guards.permissions.first import FirstStart
    from chimera.review.queue import ReviewQueue
    from chimera.review.rules import WorkRules
    from chimera.store.audit import AuditLog
    from chimera.store.migrate import ensure_schema
    from chimera.store.missions import MissionStore
    from chimera.store.principals import PrincipalStore
    from chimera.tools.artifacts import ArtifactStore

    async with open_database(settings) as (settings, url, pool):
        await ensure_schema(pool, may_upgrade=settings.database_url is None)
        clock = SystemClock()
        audit = AuditLog(pool, clock)
        if settings.database_url is None:
            await FirstStart(PrincipalStore(pool), audit, clock, FirstStart.of(settings)).enrol()
        yield Records(
            settings=settings,
            pool=pool,
            missions=MissionStore(pool, url),
            reviews=ReviewQueue(pool, WorkRules.of(settings)),
            audit=audit,
            artifacts=ArtifactStore(settings.home / "artifacts"),
        )


@asynccontextmanager
async def open_database(settings: "Settings | None" = None) -> AsyncGenerator[tuple["Settings", str, "Pool"]]:
    """The settings, the database's URL and a pool of it as it is, whatever its schema.

    Raises:
        ConfigError: the settings cannot work. StoreError: the database cannot be used.
    """
    from chimera.core.settings import load_settings
    from chimera.store.postgres import open_pool

    settings = settings or load_settings()
    async with AsyncExitStack() as stack:
        if settings.database_url:
            url = settings.database_url.get_secret_value()
        else:
            from chimera.store.embedded import EmbeddedServers

            servers = EmbeddedServers(settings.home, idle_s=settings.embedded_idle_s)
            url = (await servers.acquire()).database_url
            stack.push_async_callback(servers.release)
        yield settings, url, await stack.enter_async_context(open_pool(url))


@asynccontextmanager
async def open_swarm(settings: "Settings | None" = None, **options: Any) -> AsyncGenerator["ChimeraSwarm"]:
    """Open a swarm; on a terminal it says so, as it takes a moment.

    Raises:
        ConfigError: the settings cannot work. StoreError: Postgres, Redis or their disk cannot be used.
    """
    console = stderr()
    async with AsyncExitStack() as stack:
        with console.status("opening Chimera …") if console.is_terminal else nullcontext():
            from chimera.swarm import ChimeraSwarm

            swarm = await stack.enter_async_context(ChimeraSwarm(settings, **options))
        yield swarm
