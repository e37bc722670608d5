"""A running ``chimera serve`` on embedded servers, for the parts that measure through it."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

from chimera.core.errors import StoreError
from chimera.store.embedded import Endpoints

START_S = 120.0


def environment_of(home: Path, endpoints: Endpoints) -> dict[str, str]:
    """What a `chimera` on these servers is started with; nothing of this process's own settings."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CHIMERA_")}
    urls = {"CHIMERA_DATABASE_URL": endpoints.database_url, "CHIMERA_REDIS_URL": endpoints.redis_url}
    return {**kept, **urls, "CHIMERA_HOME": str(home)}


@asynccontextmanager
async def served(environment: dict[str, str], home: Path) -> AsyncGenerator[str]:
    """A running ``chimera serve`` that asks for no keys; gives its address.

    Raises:
        StoreError: it does not start.
    """
    with (home / "serve.txt").open("wb") as errors:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "chimera", "serve", "--port", "0", "--no-auth", "--json",
            env=environment, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=errors,
        )  # fmt: skip
    try:
        async with asyncio.timeout(START_S):
            said = await process.stdout.readuntil(b"}\n") if process.stdout is not None else b"{}"
        yield str(json.loads(said)["url"]).removesuffix("/mcp")
    except asyncio.IncompleteReadError as error:
        raise StoreError("`chimera serve` does not start") from error
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
            try:
                async with asyncio.timeout(30.0):
                    await process.wait()
            except TimeoutError:
                process.kill()
                await process.wait()
