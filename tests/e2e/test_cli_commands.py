"""Every command of the command line does on a real installation what its help says: answers, documents, exit codes.

The commands run in this process, on real servers, with real tools; tests/e2e/test_cli_processes.py has the processes.

Proves FR-19, FR-20, FR-21, FR-23, FR-62.
"""

import asyncio
import contextlib
import hashlib
import json
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
from typer.testing import CliRunner

from chimera.cli.main import app
from chimera.core.contracts import Mission
from chimera.guards.permissions.first import local_user
from chimera.store.embedded import EmbeddedServers, Endpoints
from chimera.store.migrate import known_migrations
from chimera.store.missions import MissionStore
from chimera.store.postgres import open_pool

GOAL = "Find what is rising and write a short briefing with sources"
HOSTILE = "\x1b]0;pwn\x07\x1b[31m\x9b2J[bold red]x[/]"


@dataclass(frozen=True)
class Answer:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """The one JSON document on stdout."""
        return json.loads(self.out)

    @property
    def error(self) -> Any:
        """The error in it."""
        return self.document["error"]


def chimera(*arguments: str, typed: str | None = None) -> Answer:
    result = CliRunner().invoke(app, list(arguments), input=typed)
    return Answer(result.exit_code, result.stdout, result.stderr)


@pytest.fixture(scope="module")
def place(
    tmp_path_factory: pytest.TempPathFactory,
    shared_database_url: str,
    endpoints: Endpoints,
    enrol: Callable[..., None],
) -> Generator[Path]:
    """An installation of this file's own, in a folder that the commands run in, with the people who answer here."""
    enrol(shared_database_url, "Ada", "Bo", local_user())
    enrol(shared_database_url, "acme", kind="service", roles=("stand-in",))
    folder = tmp_path_factory.mktemp("place")
    with pytest.MonkeyPatch.context() as patch, contextlib.chdir(folder):
        patch.setenv("COLUMNS", "160")  # what is shown must not depend on who ran before
        patch.setenv("CHIMERA_HOME", str(folder / "home"))
        patch.setenv("CHIMERA_DATABASE_URL", shared_database_url)
        patch.setenv("CHIMERA_REDIS_URL", endpoints.redis_url)
        yield folder


@pytest.fixture(scope="module")
def posts(place: Path) -> Path:
    """A feed with one clear riser, whose posts attack the terminal."""
    lines = ["at,text"]
    for day in range(1, 15):
        lines += [f"2026-03-{day:02d}T0{hour}:00:00Z,steady topic number {hour}" for hour in range(3)]
        if day > 12:
            lines += [f"2026-03-{day:02d}T1{hour}:00:00Z,comet sighting {HOSTILE} reported" for hour in range(8)]
    path = place / "posts.csv"
    path.write_text("\n".join(lines), "utf-8")
    return path


@pytest.fixture(scope="module")
def waiting(posts: Path) -> dict[str, Any]:
    """The document of a mission that waits for an answer about its plan."""
    answer = chimera(
        "run", GOAL, "--feed", posts.name, "--approve-plan", "--json", "--persona", f"a dry {HOSTILE} analyst"
    )
    assert (answer.code, answer.document["status"]) == (3, "waiting")
    return answer.document


@pytest.fixture(scope="module")
def finished(waiting: dict[str, Any]) -> dict[str, Any]:
    """The document of that mission, after its plan was approved and it went on."""
    item = waiting["open_reviews"][0]
    answer = chimera("review", "approve", item[:8], "--by", "Ada", "--reason", "looks right", "--resume", "--json")
    assert (answer.code, answer.document["status"]) == (0, "done"), answer.err
    return answer.document


def test_a_waiting_mission_says_what_it_asks_and_how_to_answer(waiting: dict[str, Any]) -> None:
    item = waiting["open_reviews"][0][:8]
    assert item in chimera("review", "ls", "--mission", waiting["mission_id"][:8]).out
    shown = chimera("review", "show", item)
    assert "trends__analyze_trends" in shown.out
    assert f"chimera review approve {item}" in shown.err
    assert chimera("review", "show", item, "--json").document["payload"]["kind"] == "plan"


def test_an_edited_plan_is_what_is_worked(posts: Path) -> None:
    asked = chimera("run", GOAL, "--feed", str(posts), "--approve-plan", "--quiet")
    assert asked.code == 3
    assert "chimera review approve" in asked.err
    item = chimera("review", "ls", "--json").document["reviews"][-1]
    item["payload"]["plan"]["tasks"][0]["title"] = "Only this one"
    item["payload"]["plan"]["tasks"] = item["payload"]["plan"]["tasks"][:1]
    bad = chimera("review", "edit", item["id"], "--payload", "-", "--json", typed='{"plan": {"tasks": [{"id": "?"}]}}')
    assert (bad.code, bad.error["code"]) == (2, "CH100")
    edited = chimera(
        "review", "edit", item["id"], "--payload", "-", "--resume", "--json", typed=json.dumps(item["payload"])
    )
    assert edited.code == 0
    assert "Only this one" in edited.document["answer"] or edited.document["artifacts"] == []
    again = chimera("review", "approve", item["id"], "--json")
    assert (again.code, again.error["code"]) == (1, "CH702")  # a late answer changes nothing


def test_a_rejected_plan_ends_the_mission_with_the_reason(posts: Path) -> None:
    asked = chimera("run", GOAL, "--feed", str(posts), "--approve-plan", "--json").document
    recorded = chimera("review", "reject", asked["open_reviews"][0], "--reason", "too vague", "--by", "Bo")
    assert f"chimera resume {asked['mission_id'][:8]}" in recorded.err
    ended = chimera("resume", asked["mission_id"][:8], "--json")
    assert (ended.code, ended.document["status"]) == (1, "failed")
    assert any("too vague" in reason for reason in ended.document["reasons"])


def test_people_share_questions_in_the_terminal(posts: Path) -> None:
    """Proves FR-731: every command with which people share them, and what each refuses."""
    asked = chimera("run", GOAL, "--feed", str(posts), "--approve-plan", "--json", "--persona", "a sharer").document
    item = asked["open_reviews"][0]

    def review(*arguments: str) -> Any:
        return chimera("review", *arguments, "--json").document

    assert review("claim", item, "--by", "Ada")["claimed_by"] == "Ada"
    assert "Ada has it" in chimera("review", "ls", "--point", "quality", "--kind", "plan").out
    assert review("claim", item, "--by", "Bo")["error"]["code"] == "CH711"
    assert review("approve", item, "--by", "Bo")["error"]["code"] == "CH711"
    assert review("release", item, "--by", "Bo")["released"] is False
    assert review("release", item, "--by", "Ada")["released"] is True
    first = next(one for one in review("ls")["reviews"] if one["id"] == item)
    assert {"confidence", "deadline"} <= {one["name"] for one in first["why"]}
    assert review("reassign", item, "Bo", "--by", "Ada", "--reason", "yours")["version"] == first["version"] + 1
    stale = review("approve", item, "--by", "Bo", "--version", str(first["version"]))
    assert stale["error"]["code"] == "CH710"
    assert review("reassign", item, "role:nobody", "--by", "Ada")["error"]["code"] == "CH100"
    assert review("escalate", item, "--by", "Ada")["assigned_to"] == "role:operator"
    assert review("escalate", item, "--by", "Ada")["error"]["code"] == "CH702"
    assert review("ask", item, "why\x1b[31m this plan?", "--by", "Ada")["number"] == 1
    assert chimera("resume", asked["mission_id"], "--reviewer", "none", "--json").document["status"] == "waiting"
    shown = chimera("review", "show", item)
    assert "offline rules" in shown.err
    assert "\x1b[31m" not in shown.err
    said = review("reject", item, "--by", "Ada", "--reason", "name the sources", "--grace", "600")
    assert (said["state"], said["undo_until"] is not None) == ("decided", True)
    assert "chimera review undo" in chimera("review", "show", item).err
    (line,) = (one for one in review("guidance")["guidance"] if one["text"] == "name the sources")
    assert review("guidance", "--remove", line["id"], "--by", "Ada")["removed"] == "name the sources"
    assert review("undo", item, "--by", "Ada")["undone"] == [item]
    assert review("undo", item, "--by", "Ada")["error"]["code"] == "CH712"
    assert review("undo")["error"]["code"] == "CH100"
    alike = ("--point", "quality", "--kind", "plan", "--mission", asked["mission_id"], "--by", "Ada")
    assert review("bulk", "approve", *alike, "--dry-run")["items"] == [item]
    assert review("bulk", "edit", *alike)["error"]["code"] == "CH100"
    done = review("bulk", "approve", *alike, "--grace", "600")
    assert done["items"] == [item]
    assert review("undo", "--batch", done["batch"], "--by", "Ada")["undone"] == [item]
    assert review("bulk", "approve", *alike)["items"] == [item]
    assert chimera("resume", asked["mission_id"], "--json").document["status"] == "done"


def test_an_installed_reviewer_answers_for_the_human(
    posts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Proves FR-61: a package that adds a reviewer, named on the command line."""
    metadata = tmp_path / "acme-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: acme\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[chimera.reviewers]\nacme = acme_reviews:review\n")
    (tmp_path / "acme_reviews.py").write_text(
        "from chimera.core.contracts import ReviewDecision\n\n"
        "async def review(item):\n"
        "    return ReviewDecision(action='reject', reviewer='acme', reason='not on a Monday')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    asked = ("run", GOAL, "--feed", str(posts), "--approve-plan", "--json", "--reviewer", "acme")
    answer = chimera(*asked)
    assert answer.code == 1, answer.err
    assert "rejected by acme: not on a Monday" in answer.document["reasons"][0]


def test_the_answer_is_one_document_and_progress_is_elsewhere(finished: dict[str, Any]) -> None:
    assert "comet" in finished["answer"].lower()
    assert finished["evidence"]
    assert finished["provider"] == "offline"
    assert not finished["reviewed_by_script"]
    assert len(finished["trail"]) == 64
    artifact = finished["artifacts"][0]
    assert hashlib.sha256(Path(artifact["path"]).read_bytes()).hexdigest() == artifact["sha256"]


def test_show_has_plan_decisions_verdicts_reviews_cost_and_trail(finished: dict[str, Any]) -> None:
    shown = chimera("show", finished["mission_id"][:6])
    assert shown.code == 0
    for part in (
        "team-1", "✓ t1", "Guard decisions", "tool_call", "Verdicts", "✓ cited", "Reviews", "Ada", "looks right",
        "Artifacts", "Cost", "0.00 USD", "Trail", finished["trail"], "[bold red]x[/] analyst", "offline",
    ):  # fmt: skip
        assert part in shown.out
    assert set(chimera("show", finished["mission_id"], "--json").document) == {
        "mission", "tasks", "reviews", "usage", "trail", "artifacts", "payments",
    }  # fmt: skip


def test_nothing_hostile_is_shown_anywhere(finished: dict[str, Any], posts: Path) -> None:
    for words in (
        ["show", finished["mission_id"]],
        ["show", finished["mission_id"], "--json"],
        ["run", GOAL, "--feed", str(posts), "--dry-run"],
        ["ls"],
        ["audit", "tail"],
        ["artifact", "ls", finished["mission_id"]],
    ):
        answer = chimera(*words)
        assert answer.code == 0, answer.err
        assert "\x1b" not in answer.out + answer.err
        assert "\x07" not in answer.out + answer.err


def test_ls_lists_the_newest_of_a_tenant(finished: dict[str, Any]) -> None:
    assert finished["mission_id"][:8] in chimera("ls").out
    rows = chimera("ls", "--json").document["missions"]
    assert finished["mission_id"] in [row["id"] for row in rows]
    assert chimera("ls", "--tenant", "nobody", "--json").document == {"missions": []}


def test_a_mission_that_nobody_runs_is_shown_as_stopped(place: Path, shared_database_url: str) -> None:
    """Proves FR-21: what a crash or a Ctrl-C left behind, told apart from what another process works on."""
    name = "5709d000-0000-4000-8000-000000000001"

    def seen() -> tuple[str, str, bool]:
        listed, shown = chimera("ls", "--tenant", "left"), chimera("show", name)
        row = chimera("ls", "--tenant", "left", "--json").document["missions"][0]
        found = chimera("show", name, "--json").document["mission"]
        assert row["status"] == found["status"] == "running"
        assert row["attended"] is found["attended"]
        hints = ["chimera resume 5709d000" in text for text in (listed.err, shown.out)]
        assert hints == [not row["attended"]] * 2
        return listed.out.splitlines()[1].split()[1], shown.out.splitlines()[0].split()[2], row["attended"]

    async def leave() -> None:
        async with open_pool(shared_database_url, 2) as pool:
            missions = MissionStore(pool, shared_database_url)
            await missions.create(name, Mission(goal="go", tenant="left"))
            async with missions.running_alone(name):
                assert await asyncio.to_thread(seen) == ("running", "running", True)
            async with asyncio.timeout(40):  # Postgres takes a moment to notice that the connection has gone
                while await missions.attended(name):  # noqa: ASYNC110 - nothing tells
                    await asyncio.sleep(0.02)

    asyncio.run(leave())
    assert seen() == ("stopped", "stopped", False)


def test_artifacts_come_as_they_were_made_or_not_at_all(finished: dict[str, Any], place: Path) -> None:
    mission, artifact = finished["mission_id"], finished["artifacts"][0]
    path, name = Path(artifact["path"]), artifact["name"]
    assert chimera("artifact", "ls", mission, "--json").document["artifacts"][0]["sha256"] == artifact["sha256"]
    assert chimera("artifact", "get", mission, name).out == path.read_text("utf-8")
    assert chimera("artifact", "get", mission, name, "-o", "copy.md").code == 0
    assert (place / "copy.md").read_bytes() == path.read_bytes()
    assert chimera("artifact", "get", mission, name, "-o", "/dev/full").code == 4
    assert chimera("artifact", "get", mission, name, "-o", "no/such/folder/x").code == 2
    missing = chimera("artifact", "get", mission, "other.md")
    assert (missing.code, missing.err[:5]) == (2, "CH104")
    whole = path.read_bytes()
    path.write_bytes(whole + b"\nTampered")
    tampered = chimera("artifact", "get", mission, name)
    path.write_bytes(whole)
    assert (tampered.code, tampered.out) == (4, "")
    assert "digest" in tampered.err


def test_history_replay_and_fork(finished: dict[str, Any]) -> None:
    mission = finished["mission_id"]
    steps = chimera("history", mission, "--json").document["checkpoints"]
    own = [step for step in steps if not step["place"]]
    assert [step["next"] for step in own][-1] == []
    assert steps[0]["id"] in chimera("history", mission[:8]).out
    last = next(step for step in reversed(own) if step["next"])
    replayed = chimera("replay", mission, "--from", last["id"], "--json")
    assert (replayed.code, replayed.document["mission_id"]) == (0, mission)
    assert replayed.document["answer"] == finished["answer"]
    nothing = chimera("replay", mission, "--from", "ffffffff", "--json")
    assert (nothing.code, nothing.error["code"]) == (2, "CH105")
    forked = chimera("fork", mission, "--json")
    assert forked.code == 0
    assert forked.document["mission_id"] != mission
    assert forked.document["forked_from"] == mission
    assert forked.document["answer"] == finished["answer"]
    assert f"mission {forked.document['mission_id'][:8]} started" in forked.err
    assert "trends__analyze_trends" not in forked.err  # what was finished is not done again


def test_a_waiting_mission_can_be_amended_and_cancelled(posts: Path) -> None:
    mission = chimera("run", GOAL, "--feed", str(posts), "--approve-plan", "--json").document["mission_id"]
    amended = chimera("amend", mission, "--goal", "Find what is rising", "--constraint", "no jargon", "--json")
    assert amended.code == 0
    shown = chimera("show", mission, "--json").document["mission"]
    assert (shown["goal"], shown["asked"]["constraints"]) == ("Find what is rising", ["no jargon"])
    assert shown["context_version"] == amended.document["context_version"]
    cancelled = chimera("cancel", mission, "--json")
    assert (cancelled.code, cancelled.document["status"], cancelled.document["cancelled"]) == (0, "cancelled", True)
    assert chimera("cancel", mission, "--json").document["cancelled"] is False
    late = chimera("amend", mission, "--goal", "x", "--json")
    assert (late.code, late.error["code"]) == (2, "CH100")


def test_a_dry_run_shows_the_plan_and_does_nothing(posts: Path) -> None:
    dry = chimera("run", GOAL, "--feed", str(posts), "--dry-run", "--json")
    assert (dry.code, dry.document["artifacts"]) == (0, [])
    assert len(dry.document["plans"]["team-1"]["tasks"]) == 2
    assert dry.document["estimate"] == {"model": "offline", "tokens": None, "cost": {"units": 0, "asset": "USD"}}
    assert "tool " not in dry.err
    shown = chimera("run", GOAL, "--feed", str(posts), "--dry-run", "--quiet")
    assert "files__write_artifact" in shown.out
    assert "the offline rules cost nothing" in shown.out
    assert shown.err == ""


def test_events_are_one_document_a_line(posts: Path) -> None:
    answer = chimera("run", GOAL, "--feed", str(posts), "--dry-run", "--events", "--json")
    events = [json.loads(text) for text in answer.err.splitlines()]
    assert [event["kind"] for event in events][:2] == ["mission.started", "teams"]
    assert events[-1]["kind"] == "result"
    assert events[-1]["data"]["status"] == answer.document["status"]


def test_a_goal_that_nothing_can_reach_is_said_to_be_so(place: Path) -> None:
    answer = chimera("run", "Bake a chocolate cake with cherries", "--json")
    assert answer.code in (1, 8)
    assert answer.document["unmet"]


def test_a_budget_of_nothing_buys_nothing(posts: Path) -> None:
    answer = chimera("run", GOAL, "--feed", str(posts), "--max-tokens", "0", "--json")
    assert answer.code == 1
    assert any("CH701" in reason for reason in answer.document["reasons"])


def test_watching_a_mission_that_ended_shows_what_happened(finished: dict[str, Any]) -> None:
    answer = chimera("watch", finished["mission_id"])
    assert answer.code == 0
    assert "judge team-1/t1: approve" in answer.err
    assert answer.err.splitlines()[-1].endswith(": done")


def test_the_chain_verifies_until_somebody_touches_it(finished: dict[str, Any]) -> None:
    intact = chimera("audit", "verify", "--json").document
    assert intact["intact"]
    assert intact["events"] > 10
    of_mission = chimera("audit", "show", finished["mission_id"], "--json").document["events"]
    assert {"guard.decision", "verdict", "review.answered", "plan"} <= {event["kind"] for event in of_mission}
    tail = chimera("audit", "tail", "-n", "3", "--json").document["events"]
    assert tail[-1]["hash"] == intact["head"]
    with _connected() as connection:
        connection.execute("ALTER TABLE audit_events DISABLE TRIGGER ALL")
        connection.execute("UPDATE audit_events SET body = replace(body, 'actor', 'Actor') WHERE seq = 2")
        broken = chimera("audit", "verify", "--json")
        connection.execute("UPDATE audit_events SET body = replace(body, 'Actor', 'actor') WHERE seq = 2")
        connection.execute("ALTER TABLE audit_events ENABLE TRIGGER ALL")
    assert (broken.code, broken.error["code"]) == (4, "CH305")
    assert chimera("audit", "verify").code == 0


def test_tools_are_listed_and_explained_without_a_database(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHIMERA_DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none")
    found = chimera("tools", "ls", "--json").document
    assert {"trends__analyze_trends", "files__write_artifact"} <= {tool["name"] for tool in found["tools"]}
    assert {server["state"] for server in found["servers"]} == {"up"}
    shown = chimera("tools", "show", "files__write_artifact")
    assert "(writes)" in shown.out
    unknown = chimera("tools", "show", "no__such", "--json")
    assert (unknown.code, unknown.error["code"]) == (7, "CH601")


def test_the_doctor_finds_a_healthy_installation_healthy(place: Path) -> None:
    report = chimera("doctor", "--json")
    assert report.code == 0, report.out
    states = {check["name"]: check["state"] for check in report.document["checks"]}
    assert {"postgres", "schema", "redis", "model", "tools files", "tools trends", "folder"} <= set(states)
    assert "problem" not in states.values()


def test_the_doctor_names_everything_that_is_broken_at_once(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    servers = place / "servers.json"
    servers.write_text(json.dumps({"mcpServers": {"gone": {"command": "/no/such/program"}}}), "utf-8")
    monkeypatch.setenv("CHIMERA_DATABASE_URL", "postgresql://ada:hunter2@127.0.0.1:1/none")
    monkeypatch.setenv("CHIMERA_REDIS_URL", "redis://:hunter2@127.0.0.1:1")
    monkeypatch.setenv("CHIMERA_MODEL", "nonsense")
    monkeypatch.setenv("CHIMERA_SERVERS", str(servers))
    report = chimera("doctor", "--json")
    assert report.code == 1
    problems = {check["name"]: check for check in report.document["checks"] if check["state"] == "problem"}
    assert {name: found["code"] for name, found in problems.items()} == {
        "postgres": "CH301", "redis": "CH301", "model": "CH401", "tools gone": "CH602",
    }  # fmt: skip
    assert all(found["remedy"] for found in problems.values())
    assert "hunter2" not in report.out + report.err
    monkeypatch.setenv("CHIMERA_MAX_STEPS", "many")
    unreadable = chimera("doctor")
    assert unreadable.code == 1
    assert "CH201 max_steps" in unreadable.out


def test_an_old_database_asks_for_its_migration_and_a_newer_one_for_an_upgrade(
    place: Path, empty_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHIMERA_DATABASE_URL", empty_database_url)
    number, name, sql = known_migrations()[0]
    with psycopg.connect(empty_database_url, autocommit=True) as connection:
        connection.execute(
            b"CREATE TABLE migrations (version integer PRIMARY KEY, name text, applied_at timestamptz DEFAULT now())"
        )
        connection.execute(sql.encode())
        connection.execute("INSERT INTO migrations (version, name) VALUES (%s, %s)", (number, name))
        old = chimera("ls", "--json")
        assert (old.code, old.error["code"]) == (4, "CH302")
        assert "chimera migrate" in old.error["remedy"]
        problem = [check for check in chimera("doctor", "--json").document["checks"] if check["state"] == "problem"]
        assert [check["code"] for check in problem] == ["CH302"]
        done = chimera("migrate", "--json").document
        assert done["before"] == 1
        assert {entry[1] for entry in known_migrations()[1:]} <= set(done["applied"])
        assert chimera("ls", "--json").document == {"missions": []}
        assert chimera("migrate").err.startswith("Nothing to do")
        connection.execute("INSERT INTO migrations (version, name) VALUES (999, 'from the future')")
    newer = chimera("ls", "--json")
    assert (newer.code, newer.error["code"]) == (4, "CH303")


def test_down_stops_the_embedded_servers_and_purge_deletes_their_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHIMERA_HOME", str(tmp_path))
    monkeypatch.delenv("CHIMERA_DATABASE_URL", raising=False)
    monkeypatch.delenv("CHIMERA_REDIS_URL", raising=False)
    assert chimera("ls", "--json").document == {"missions": []}  # started by themselves, with a fresh schema
    assert EmbeddedServers(tmp_path).status().running
    assert chimera("down", "--json").document["stopped"]
    assert not EmbeddedServers(tmp_path).status().running
    assert chimera("down").err.startswith("The embedded servers were not running")
    assert (tmp_path / "embedded" / "postgres").is_dir()
    assert chimera("down", "--purge").code == 0
    assert not (tmp_path / "embedded").exists()


@contextlib.contextmanager
def _connected() -> Generator["psycopg.Connection[Any]"]:
    """The database that the commands use, as the role that owns it."""
    import os

    with psycopg.connect(os.environ["CHIMERA_DATABASE_URL"], autocommit=True) as connection:
        yield connection
