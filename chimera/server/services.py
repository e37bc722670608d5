"""The services of a server process. They are opened once, and every run of a served graph gets them."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from langgraph.checkpoint.base import BaseCheckpointSaver

from chimera.app import App, open_app
from chimera.core.errors import ConfigError


class Services:
    """The open services, one set for each event loop: connections belong to the loop that opened them."""

    def __init__(self) -> None:
        self._apps: dict[asyncio.AbstractEventLoop, App] = {}

    @asynccontextmanager
    async def saver(self) -> AsyncGenerator[BaseCheckpointSaver[str]]:
        """Open the services for this event loop, and close them at the end; gives the saver of all checkpoints.

        Raises:
            ConfigError: the settings cannot work. StoreError: Postgres, Redis or their disk cannot be used.
        """
        loop = asyncio.get_running_loop()
        async with open_app() as app:
            self._apps[loop] = app
            try:
                yield app.saver
            finally:
                del self._apps[loop]

    @property
    def app(self) -> App:
        """The services of the running event loop.

        Raises:
            ConfigError: they are not open.
        """
        app = self._apps.get(asyncio.get_running_loop())
        if app is None:
            raise ConfigError(
                "the services of this server are not open",
                remedy='Let langgraph.json name the checkpointer: {"path": "chimera.server.langgraph.checkpointer"}.',
            )
        return app
