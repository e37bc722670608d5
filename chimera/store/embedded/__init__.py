"""The embedded servers: PostgreSQL 18 and Valkey 9, started on demand and shared by all processes of one user.

Both are real servers from PyPI wheels. They live in ``DATA_DIR/embedded`` and listen on unix sockets only::

    servers = EmbeddedServers(data_dir)
    endpoints = await servers.acquire()     # starts what is not running; a few ms when both run
    ...                                     # psycopg: endpoints.database_url, redis-py: endpoints.redis_url
    await servers.release()                 # happens by itself when the process dies

Who does what: every user process holds a locked file in ``users/`` (the kernel lets go of it, ``kill -9`` included).
One small detached keeper process starts both servers, restarts one that dies, and stops both when nobody has used
them for a while. Whatever is killed, the next ``acquire`` repairs it.

The application connects as the role ``chimera``: it owns its database and may create others, but is no superuser, so
injected SQL cannot read files or start programs. Every database that it creates has the extension ``vector``.

A test session shares one set between all pytest-xdist workers by giving each worker the same folder, because sharing
between processes is what this package does; each worker then creates a database of its own::

    @pytest.fixture(scope="session")
    def embedded(tmp_path_factory, worker_id):
        base = tmp_path_factory.getbasetemp()
        folder = (base if worker_id == "master" else base.parent) / "servers"
        servers = EmbeddedServers(folder, idle_s=5, durable=False)
        yield asyncio.run(servers.acquire())
        asyncio.run(servers.release())
        with contextlib.suppress(StoreError):
            asyncio.run(servers.purge())    # refused until the last worker has gone

The exports are loaded on first use, so that the keeper, which is a module of this package, stays tiny.
"""

import sys
from typing import TYPE_CHECKING, Any

from chimera.core.errors import StoreUnavailable

if TYPE_CHECKING:
    from chimera.store.embedded.layout import Endpoints
    from chimera.store.embedded.servers import EmbeddedServers
    from chimera.store.embedded.status import ServersStatus, ServerStatus

__all__ = ["EmbeddedServers", "Endpoints", "ServerStatus", "ServersStatus"]

_HOMES = {"Endpoints": "layout", "EmbeddedServers": "servers", "ServerStatus": "status", "ServersStatus": "status"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if sys.platform == "win32":
        raise StoreUnavailable(
            "the embedded servers need Linux or macOS",
            remedy="Use WSL, or set CHIMERA_DATABASE_URL and CHIMERA_REDIS_URL to servers of your own.",
        )
    import importlib

    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
