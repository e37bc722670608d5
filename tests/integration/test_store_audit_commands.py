"""The commands around the record, on a mission that was played.

Proves FR-122 and FR-123: the report counts what the record has, says first when the record is broken, and exits with 4
then; an export verifies on another machine with nothing but the public key; no command shows a secret of the settings.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from chimera import ChimeraSwarm, Mission
from chimera.cli.main import app
from chimera.core.settings import Settings
from chimera.guards.permissions.first import local_user
from chimera.store.postgres import fetch, open_pool

CANARY = "canary-7f3a9c51"
Chimera = Callable[..., Awaitable[tuple[int, str]]]


@pytest.fixture
def chimera(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, enrol: Callable[..., None]) -> Chimera:
    """Runs ``chimera audit ...`` on the database of the test, as its operator, with a secret in the settings."""
    assert settings.database_url is not None
    enrol(settings.database_url.get_secret_value(), local_user())
    monkeypatch.setenv("CHIMERA_DATABASE_URL", settings.database_url.get_secret_value())
    monkeypatch.setenv("CHIMERA_HOME", str(settings.home))
    monkeypatch.setenv("CHIMERA_MODEL_API_KEY", CANARY)
    monkeypatch.chdir(tmp_path)

    async def run(*words: str) -> tuple[int, str]:
        done = await asyncio.to_thread(CliRunner().invoke, app, ["audit", *words])
        private = settings.home / "audit" / "key.pem"
        secrets = [CANARY, *(private.read_text("ascii").splitlines()[1:2] if private.exists() else [])]
        for secret in secrets:
            assert secret not in done.output
        return done.exit_code, done.stdout

    return run


async def test_the_commands_of_the_record(settings: Settings, feed: Path, tmp_path: Path, chimera: Chimera) -> None:
    goal = "Find what is rising and write a short briefing with sources"
    async with ChimeraSwarm(settings) as swarm:
        result = await swarm.run(Mission(goal=goal, inputs={"feed": str(feed)}))
    code, shown = await chimera("verify")
    assert code == 0
    assert "is intact" in shown
    code, shown = await chimera("checkpoint", "--json")
    assert code == 0
    signed = json.loads(shown)
    (tmp_path / "kept.json").write_text(json.dumps(signed["checkpoint"]), "utf-8")
    (tmp_path / "public.pem").write_text(signed["public_key"], "utf-8")
    code, shown = await chimera("verify", "--json", "--checkpoint", "kept.json")
    found = json.loads(shown)
    assert (code, found["signed_from"], found["signed_to"]) == (0, 1, found["events"])
    assert found["keys"] == [{"id": signed["checkpoint"]["key"], "pem": signed["public_key"]}]

    assert (await chimera("export", "--output", "all.jsonl"))[0] == 0
    assert (await chimera("export", "--output", "all.jsonl"))[0] == 2  # nothing is overwritten
    assert (tmp_path / "all.jsonl").stat().st_mode & 0o777 == 0o600
    assert CANARY not in (tmp_path / "all.jsonl").read_text("utf-8")
    for words in (("--file", "all.jsonl", "--public-key", "public.pem"), ("--file", "all.jsonl")):
        code, shown = await chimera("verify", *words)
        assert (code, f"events 1 to {found['events']}" in shown) == (0, True)
    code, shown = await chimera("export", "--format", "ocsf", "--mission", result.mission_id[:8], "--since", "1h")
    lines = [json.loads(line) for line in shown.splitlines()]
    assert (code, len(lines)) == (0, found["events"])
    assert {line["metadata"]["version"] for line in lines} == {"1.3.0"}
    assert len((await chimera("export", "--until", "1h"))[1].splitlines()) == 2  # the head, and a checkpoint

    code, shown = await chimera("report", "--json", "--html", "report.html")
    told = json.loads(shown)
    assert (code, told["intact"], told["events"]) == (0, True, found["events"])
    assert sum(sum(actions.values()) for actions in told["decisions"].values()) == told["kinds"]["guard.decision"]
    assert sum(told["threats"].values()) == told["kinds"]["guard.decision"]
    assert "record intact" in (tmp_path / "report.html").read_text("utf-8")
    code, shown = await chimera("report")
    assert (code, "the chain is intact" in shown) == (0, True)
    assert (await chimera("report", "--since", "tomorrow"))[0] == 2

    assert settings.database_url is not None
    async with open_pool(settings.database_url.get_secret_value(), 1) as pool:
        await fetch(pool, "ALTER TABLE audit_events DISABLE TRIGGER ALL")
        await fetch(pool, "UPDATE audit_events SET body = replace(body, 'verdict', 'Verdict') WHERE seq = 3")
        await fetch(pool, "UPDATE audit_events SET body = body || ' ' WHERE seq = 3")
    code, shown = await chimera("report", "--json", "--html", "report.html")
    assert (code, json.loads(shown)["verified"]) == (4, "tenant default: event 3 was changed")
    assert "record broken" in (tmp_path / "report.html").read_text("utf-8")
    assert (await chimera("verify"))[0] == 4
    assert (await chimera("checkpoint"))[0] == 4
    assert (await chimera("export", "--output", "broken.jsonl"))[0] == 0
