"""No secret of the settings is in anything that lasts or is shown.

Proves LAW-6 for the store: a mission runs with a model whose service refuses the key and quotes it, as services do, and
then with the offline rules in its place. Afterwards the key and the database's password are searched in every column of
every row, checkpoints included, in every live event, in the logs, in the artifacts, and in the error of a mission for
which there was no model left.
"""

import asyncio
import json
import logging
import traceback
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest
from psycopg.conninfo import make_conninfo
from redis.asyncio import Redis

from chimera import ChimeraSwarm, Mission
from chimera.core.contracts import MissionResult
from chimera.core.errors import ChimeraError
from chimera.core.settings import Settings
from chimera.store.postgres import Pool, fetch

KEY = "sk-canary-Zq9keyQ9z"
PASSWORD = "canary-Zq9passQ9z"
MAY_BE_EMPTY = (
    "principals",
    *("accounts", "account_sessions", "account_invitations", "account_identities"),
    "certificates",
    *("review_votes", "review_notes", "review_guidance"),
    *("effects", "reviews", "policies", "grants", "incidents", "quarantines", "audit_checkpoints"),
    *("agents", "workers", "runs", "lanes", "latencies"),
    *("intents", "intent_moves", "holds", "budgets", "budget_spends", "journal", "journal_seals"),
    *("tool_servers", "tool_versions", "tool_replicas", "tool_capabilities", "tool_pins", "tool_changes"),
    *("tool_listings", "tool_outcomes", "tool_vectors", "principal_keys", "x402_payments", "x402_sales"),
    *("wallets", "wallet_nonces", "chain_transactions"),  # tests/integration/commerce/x402/test_canary.py fills these
    *("payees", "payment_findings", "payment_approvals", "payment_signatures"),
)
TABLES = "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public' AND table_type = 'BASE TABLE'"


@pytest.fixture
async def refusing() -> AsyncGenerator[tuple[str, list[bytes]]]:
    """An OpenAI-compatible service that refuses every key and quotes it, and what it was sent."""
    asked: list[bytes] = []

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
        asked.append(head + await reader.readexactly(length))
        body = json.dumps({"error": {"message": f"Incorrect API key provided: {KEY}", "code": "invalid_api_key"}})
        start = f"HTTP/1.1 401 Unauthorized\r\nContent-Type: application/json\r\nX-Key: {KEY}\r\nConnection: close\r\n"
        writer.write(f"{start}Content-Length: {len(body)}\r\n\r\n{body}".encode())
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(refuse, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1", asked


async def everything(pool: Pool, settings: Settings, result: MissionResult) -> str:
    """All that was written anywhere, as one text."""
    found = [result.model_dump_json()]
    for table in await fetch(pool, TABLES):
        rows = await fetch(pool, f'SELECT * FROM "{table["table_name"]}"')
        assert rows or table["table_name"] in MAY_BE_EMPTY, f"nothing was written to {table['table_name']}"
        values = (value for row in rows for value in row.values())
        found += [value.decode("latin-1") if isinstance(value, bytes) else str(value) for value in values]
    assert settings.redis_url is not None
    async with Redis.from_url(settings.redis_url.get_secret_value()) as client:
        events: Any = await client.xrange(f"chimera:events:{result.mission_id}")
    assert events
    found += [str(event) for event in events]
    files = [path for path in settings.home.rglob("*") if path.is_file()]
    assert files
    return "\n".join(found + [path.read_text("utf-8", "replace") for path in files])


async def test_no_secret_is_in_anything_that_lasts_or_is_shown(
    settings: Settings,
    database_url: str,
    pool: Pool,
    feed: Path,
    refusing: tuple[str, list[bytes]],
    caplog: pytest.LogCaptureFixture,
) -> None:
    url, asked = refusing
    secret = {
        **dict(settings),
        "database_url": make_conninfo(database_url, password=PASSWORD),
        "model": "openai:gpt-canary",
        "model_base_url": url,
        "model_api_key": KEY,
    }
    caplog.set_level(logging.INFO)
    caplog.set_level(logging.DEBUG, "chimera")
    goal = Mission(goal="Find what is rising and write a short briefing with sources", inputs={"feed": str(feed)})
    async with ChimeraSwarm(Settings.model_validate({**secret, "model_fallbacks": ["offline"]})) as swarm:
        result = await swarm.run(goal)
    assert result.status == "done", result
    assert asked
    assert all(KEY.encode() in one for one in asked)  # it was used: there was something to leak
    written = await everything(pool, settings, result)
    assert "comet" in written
    async with ChimeraSwarm(Settings.model_validate(secret)) as swarm:
        try:
            told = (await swarm.run(goal)).model_dump_json()
        except ChimeraError as error:
            told = "\n".join([repr(error), error.hint, *traceback.format_exception(error)])
    assert "401" in told
    for secret_text in (KEY, PASSWORD):
        assert secret_text not in written
        assert secret_text not in told
        assert secret_text not in caplog.text
