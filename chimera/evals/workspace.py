"""A place of its own for one evaluation: copies of the feeds, the desk server, artifacts and embedded servers."""

import asyncio
import json
import shutil
import sys
import tempfile
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

from chimera.core.settings import Settings
from chimera.evals.cases import FOLDERS, GOLDEN, place_text
from chimera.evals.desk import NAME
from chimera.store.embedded import EmbeddedServers

IDLE_S = 10.0
SCRIPTED_PRICE = (3_000_000, 3_000_000)
"""Three dollars for a million tokens, in and out: what a case over its budget of money pays for scripted tokens."""

_KEPT = (
    "database_url",
    "redis_url",
    "model",
    "models",
    "model_fallbacks",
    "model_base_url",
    "model_api_key",
    "model_timeout_s",
    "model_retries",
    "prices",
)


@asynccontextmanager
async def workspace(user: Settings) -> AsyncGenerator[Settings]:
    """Settings for an evaluation in a temporary folder, which is deleted afterwards with the servers in it.

    Models, prices and the addresses of real servers come from the user's settings; everything else is the default, so
    that two machines evaluate the same thing. In a real database the missions stay, under tenants named ``eval-``.
    """
    home = Path(await asyncio.to_thread(tempfile.mkdtemp, prefix="chimera-eval-"))
    try:
        await asyncio.to_thread(furnish, home)
        yield settings_in(home, user)
    finally:
        try:
            await EmbeddedServers(home).purge(force=True)
        finally:
            await asyncio.to_thread(shutil.rmtree, home, ignore_errors=True)


def settings_in(home: Path, user: Settings) -> Settings:
    """The defaults, with what an evaluation takes over from the user."""
    fresh = {
        name: field.get_default(call_default_factory=True)
        for name, field in Settings.model_fields.items()
        if name not in _KEPT
    }
    own = {
        "home": home,
        "embedded_idle_s": IDLE_S,
        "servers": home / "servers.json",
        "prices": {"scripted": SCRIPTED_PRICE, **user.prices},
    }
    return user.model_copy(update={**fresh, **own})


def furnish(home: Path, golden: Path = GOLDEN) -> None:
    """Copy the golden files, with the paths in them made real, and declare the desk server."""
    for folder in FOLDERS:
        (home / folder).mkdir()
        for source in sorted((golden / folder).iterdir()):
            text = source.read_bytes().decode("utf-8")
            (home / folder / source.name).write_bytes(place_text(text, home).encode("utf-8"))
    command = ["-P", "-m", "chimera.evals.desk", "--outbox", str(home / "outbox.jsonl")]
    servers = {"mcpServers": {NAME: {"command": sys.executable, "args": command}}}
    (home / "servers.json").write_text(json.dumps(servers), encoding="utf-8")
