"""The checks of ``chimera doctor``. Each runs by itself: one that breaks is a finding, and hides no other."""

import asyncio
import importlib.metadata
import os
import platform
import shutil
import sys
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from chimera.cli.failures import as_chimera
from chimera.cli.view.text import count, line, size
from chimera.core.errors import SchemaNewer, SchemaOutdated, SettingsInvalid, StoreFull, StoreUnavailable
from chimera.core.settings import CONFIG_FILE, ROLES, Settings, load_settings

CHECK_S = 180.0
ROOM_MIN = 200_000_000
PACKAGES = ("langgraph", "langgraph-checkpoint-postgres", "langchain-core", "mcp", "psycopg", "redis", "pydantic")


@dataclass(frozen=True)
class Finding:
    """One line of the report."""

    name: str
    state: Literal["ok", "note", "problem"]
    detail: str
    remedy: str = ""
    code: str = ""


Check = Callable[[Settings], AsyncGenerator[Finding]]


async def examine() -> list[Finding]:
    """Run every check; those that need settings are left out when these cannot be read."""
    found = list(_program())
    try:
        settings = load_settings()
    except SettingsInvalid as error:
        return [*found, _problem("settings", error)]
    found += _settings(settings)
    for name, check in _CHECKS.items():
        found += await _run(name, check, settings)
    return found


async def _run(name: str, check: Check, settings: Settings) -> list[Finding]:
    found: list[Finding] = []
    try:
        async with asyncio.timeout(CHECK_S):
            async for finding in check(settings):
                found.append(finding)  # noqa: PERF401 - what was found before a failure stays
    except TimeoutError:
        found.append(Finding(name, "problem", f"no answer within {CHECK_S:g} s", "Repeat, then `chimera down`."))
    except Exception as error:  # noqa: BLE001 - the point of this command: whatever is broken is named
        found.append(_problem(name, error))
    return found


def _problem(name: str, error: Exception) -> Finding:
    known = as_chimera(error)
    return Finding(name, "problem", line(str(known), 300), line(known.hint, 300), known.code)


def _program() -> list[Finding]:
    versions = ", ".join(f"{name} {_version(name)}" for name in PACKAGES)
    return [
        Finding("chimera", "ok", f"{_version('chimera-swarm')} in {Path(__file__).resolve().parent.parent}"),
        Finding("python", "ok", f"{platform.python_version()} on {platform.platform(terse=True)}, {sys.executable}"),
        Finding("packages", "ok", versions),
    ]


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _settings(settings: Settings) -> list[Finding]:
    named = os.environ.get("CHIMERA_CONFIG")
    file = Path(named or CONFIG_FILE)
    source = str(file.absolute()) if file.is_file() else f"no {CONFIG_FILE} here"
    given = sorted(name for name in os.environ if name.startswith("CHIMERA_") and name not in _NOT_SETTINGS)
    changed = [name for name in sorted(settings.model_fields_set) if name != "home"]
    return [
        Finding("settings", "ok", f"{source}; environment: {', '.join(given) or 'nothing'}"),
        *([Finding("changed", "note", ", ".join(_shown(settings, name) for name in changed))] if changed else []),
    ]


_NOT_SETTINGS = ("CHIMERA_CONFIG", "CHIMERA_DEBUG", "CHIMERA_DATA")


def _shown(settings: Settings, name: str) -> str:
    return line(f"{name}={getattr(settings, name)}", 120)  # a SecretStr shows itself as stars


async def _folder(settings: Settings) -> AsyncGenerator[Finding]:
    """The data folder: can it be written, and is there room."""
    home = settings.home.expanduser().absolute()
    present = next(folder for folder in (home, *home.parents) if folder.exists())
    if not os.access(present, os.W_OK):
        raise StoreUnavailable(f"{present} cannot be written", remedy="Set CHIMERA_HOME to a folder of yours.")
    free = shutil.disk_usage(present).free
    if free < ROOM_MIN:
        raise StoreFull(
            f"{size(free)} are free at {present}", remedy=f"Free at least {size(ROOM_MIN)}, or move CHIMERA_HOME."
        )
    yield Finding("folder", "ok", f"{home}, {size(free)} free")


async def _stores(settings: Settings) -> AsyncGenerator[Finding]:
    """Postgres and Redis: the embedded ones where no others are named."""
    database = settings.database_url.get_secret_value() if settings.database_url else None
    redis = settings.redis_url.get_secret_value() if settings.redis_url else None
    async with AsyncExitStack() as stack:
        if not (database and redis):
            try:
                ends, about = await _embedded(settings, stack)
            except Exception as error:  # noqa: BLE001 - the named one of the two can still be looked at
                yield _problem("embedded", error)
            else:
                yield about
                database, redis = database or ends.database_url, redis or ends.redis_url
        if database:
            for finding in await _run("postgres", lambda _: _postgres(database, settings), settings):
                yield finding
        if redis:
            for finding in await _run("redis", lambda _: _redis(redis, settings), settings):
                yield finding


async def _embedded(settings: Settings, stack: AsyncExitStack) -> tuple[Any, Finding]:
    from chimera.store.embedded import EmbeddedServers

    servers = EmbeddedServers(settings.home, idle_s=settings.embedded_idle_s)
    ends = await servers.acquire()
    stack.push_async_callback(servers.release)
    status = await asyncio.to_thread(servers.status)
    used = [name for name, url in (("PostgreSQL", settings.database_url), ("Valkey", settings.redis_url)) if not url]
    data = size(status.postgres.data_bytes + status.valkey.data_bytes)
    return ends, Finding(
        "embedded", "ok", f"{' and '.join(used)} in {status.folder}, {data}, {count(status.users, 'user')}"
    )


async def _postgres(url: str, settings: Settings) -> AsyncGenerator[Finding]:
    from chimera.cli.deciders import who_decides
    from chimera.store.migrate import applied_version, known_migrations
    from chimera.store.postgres import fetch_one, open_pool

    kind = "configured" if settings.database_url else "embedded"
    async with open_pool(url, 2) as pool:
        row = await fetch_one(
            pool,
            "SELECT current_setting('server_version') AS version, pg_is_in_recovery() AS standby, "
            "(SELECT extversion FROM pg_extension WHERE extname = 'vector') AS vector",
        )
        found = row or {}
        vector = f"pgvector {found['vector']}" if found.get("vector") else "without pgvector"
        yield Finding("postgres", "ok", f"{kind}, version {found.get('version', '?')}, {vector}")
        if found.get("standby"):
            raise StoreUnavailable("this Postgres is a standby and takes no writes", remedy="Name the primary server.")
        now, newest = await applied_version(pool), known_migrations()[-1][0]
        if now > newest:
            raise SchemaNewer(f"the database has schema {now}, this version knows {newest}")
        if 0 < now < newest:
            raise SchemaOutdated(f"the database has schema {now}, this version needs {newest}")
        yield Finding("schema", "ok", f"{now} of {newest}" if now else "empty; the first command makes it")
        yield await who_decides(pool, settings, made=now == newest)


async def _redis(url: str, settings: Settings) -> AsyncGenerator[Finding]:
    from redis.exceptions import RedisError

    from chimera.store.redis import redis_client

    kind = "configured" if settings.redis_url else "embedded"
    client = redis_client(url)
    try:
        about: dict[str, Any] = await client.info("server")
    except (RedisError, OSError, ValueError) as error:
        raise StoreUnavailable(f"Redis cannot be reached: {type(error).__name__}") from error
    finally:
        await client.aclose()
    name = (
        f"Valkey {about['valkey_version']}" if "valkey_version" in about else f"Redis {about.get('redis_version', '?')}"
    )
    yield Finding("redis", "ok", f"{kind}, {name}")


async def _models(settings: Settings) -> AsyncGenerator[Finding]:
    """Each model that a role uses: can it be set up, and does it answer. A real one is asked for one word."""
    roles: dict[str, list[str]] = {}
    for role in ROLES:
        roles.setdefault(settings.model_for(role), []).append(role)
    for name in settings.model_fallbacks:
        roles.setdefault(name, []).append("fallback")
    for name, used in roles.items():
        whom = "all roles" if set(ROLES) <= set(used) else ", ".join(used)
        for finding in await _run("model", lambda _, name=name, whom=whom: _model(name, whom, settings), settings):
            yield finding


async def _model(name: str, whom: str, settings: Settings) -> AsyncGenerator[Finding]:
    from chimera.core.errors import ModelFailed
    from chimera.models.choose import OFFLINE, choose_model

    model = choose_model(name, settings)
    if name == OFFLINE:
        yield Finding("model", "ok", f"offline rules for {whom}: no language model is used (CHIMERA_MODEL names one)")
        return
    began = time.monotonic()
    try:
        async with asyncio.timeout(settings.model_timeout_s):
            await model.ainvoke("Answer with the one word: ready")
    except TimeoutError:
        raise ModelFailed(f"{line(name, 80)} did not answer within {settings.model_timeout_s:g} s") from None
    except Exception as error:  # each integration raises its own; its message may quote the key
        status = getattr(error, "status_code", None)
        why = f"{type(error).__name__}{f', HTTP {status}' if isinstance(status, int) else ''}"
        raise ModelFailed(f"{line(name, 80)}: {why}") from error
    yield Finding("model", "ok", f"{line(name, 80)} for {whom} answered in {time.monotonic() - began:.1f} s")


async def _tools(settings: Settings) -> AsyncGenerator[Finding]:
    """Every tool server: does it start, and what does it offer."""
    from chimera.core.errors import ToolServerDown
    from chimera.tools.mesh.mesh import ToolMesh
    from chimera.tools.mesh.servers import configured, first_party

    try:
        others = configured(settings)
    except SettingsInvalid as error:
        others = []
        yield _problem("tool servers", error)
    async with ToolMesh([*first_party(settings), *others], settings) as mesh:
        await mesh.capabilities()
        for server in mesh.status():
            name = f"tools {server.name}"
            if server.state != "up":
                yield _problem(name, ToolServerDown(server.error or server.state, remedy=_SERVER_REMEDY))
                continue
            yield Finding(
                name, "ok", f"{server.transport}, {count(len(server.tools), 'tool')}, {line(server.version, 80)}"
            )
            for dropped in server.dropped:
                yield Finding(name, "note", f"not usable: {line(dropped, 200)}")


async def payments(settings: Settings) -> AsyncGenerator[Finding]:
    """What pays: whether its choices can be read, whether CFO and signer are there, and how old the lists are."""
    if not settings.payments:
        yield Finding("payments", "ok", "none; CHIMERA_PAYMENTS=local pays on a chain of this machine's own")
        return
    from chimera.commerce.configured import LOCAL, configured_payments

    setup = await asyncio.to_thread(configured_payments, settings)
    if settings.payments == LOCAL:
        yield Finding("payments", "ok", "on the local chain, in money that is worth nothing")
        return
    if setup.lists is None or setup.lists.dated is None:
        yield Finding("payments lists", "note", "there are none, or nobody knows how old they are")
    else:
        yield Finding(
            "payments lists", "ok", f"{setup.lists.dated:%Y-%m-%d}, {count(len(setup.lists.found), 'address')}"
        )
    for name, place, code in (("CFO", setup.cfo_socket, "CH818"), ("signer", setup.signer_socket, "CH811")):
        if place is None:
            continue
        try:
            _, writer = await asyncio.open_unix_connection(place)
        except OSError as error:
            yield Finding(f"payments {name}", "problem", f"{place}: {type(error).__name__}", _PAYMENTS_REMEDY, code)
            continue
        writer.close()
        await writer.wait_closed()
        yield Finding(f"payments {name}", "ok", str(place))


_PAYMENTS_REMEDY = "Start its process (docs/payments.md), and see that this user may open the socket."
_SERVER_REMEDY = "Check its command or URL in the file that CHIMERA_SERVERS names; missions go on without it."
_CHECKS: dict[str, Check] = {
    "folder": _folder,
    "stores": _stores,
    "models": _models,
    "tools": _tools,
    "payments": payments,
}
