"""Postgres fails under a mission: restarted, killed, hung, without space; and processes die that held something.

Proves FR-75, and LAW-7 where the store is the part that fails: the mission stops with a code, loses nothing that was
committed, and goes on to the result that it was to have. Proves FR-76 for a wrong password, which takes a server that
asks for one; FR-77 and TR-23 for the embedded database, which is upgraded without a question. The servers are this
file's own.
"""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from chimera import ChimeraSwarm, Mission
from chimera.app import open_app
from chimera.core.clock import SystemClock
from chimera.core.contracts import MissionResult, ReviewDecision, ReviewItem
from chimera.core.errors import MissionBusy, StoreUnavailable
from chimera.core.settings import Settings
from chimera.guards.permissions.first import local_user
from chimera.store.audit import AuditEvent, AuditLog
from chimera.store.embedded import EmbeddedServers
from chimera.store.embedded.layout import Layout
from chimera.store.embedded.processes import Family, family
from chimera.store.migrate import ensure_schema, known_migrations
from chimera.store.missions import MissionStore
from chimera.store.postgres import fetch, open_pool

ID = "0b9d5a52-9a5e-4a39-8e0b-4a8d2b6d0c11"
SECRET = "Zq9secretQ9z"
GOAL = "Find what is rising and write a short briefing with sources"


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data folder of this file's servers."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture
async def servers(own: Path) -> AsyncGenerator[EmbeddedServers]:
    """The servers, running."""
    used = EmbeddedServers(own, idle_s=0.2)
    await used.acquire()
    yield used
    await used.release()


@pytest.fixture(scope="module", autouse=True)
def stopped(own: Path) -> Any:
    """Nothing of this file is left behind."""
    yield
    asyncio.run(EmbeddedServers(own).stop())
    assert not found(own).all()


def found(folder: Path) -> Family:
    return family(Layout(folder).marker)


def send(number: signal.Signals, pids: list[int]) -> None:
    assert pids
    for pid in pids:
        os.kill(pid, number)


async def until(condition: Callable[[], bool], seconds: float = 30) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - the condition is about other processes
            await asyncio.sleep(0.01)


async def interrupted(own: Path, feed: Path, harm: Callable[[], Any]) -> None:
    """Start the main job, harm Postgres while a human has the plan, and wait for the error."""
    asked = Mission(goal=GOAL, inputs={"feed": str(feed)})

    async def review(item: ReviewItem) -> ReviewDecision:
        await harm()
        await asyncio.Event().wait()  # the human takes all day: only the one that attends the mission can notice
        raise AssertionError(item)

    async with asyncio.timeout(50), ChimeraSwarm(Settings.model_validate({"home": own})) as swarm:
        with pytest.raises(StoreUnavailable) as failed:
            await swarm.run(asked, mission_id=ID, reviewer=review, approve_plan=True)
    assert failed.value.code == "CH301"
    assert failed.value.retryable


async def resumed(own: Path) -> MissionResult:
    """Go on with the mission, with a human who is quick; its record is whole, and nothing was done twice."""

    async def approve(_: ReviewItem) -> ReviewDecision:
        return ReviewDecision(action="approve", reviewer=local_user())

    async with ChimeraSwarm(Settings.model_validate({"home": own})) as swarm:
        result = await swarm.resume(ID, reviewer=approve)
        await swarm.app.context.audit.verify()
        kinds = [event["kind"] for event in await swarm.app.context.audit.of_mission(ID)]
        tasks = await swarm.app.context.missions.tasks(ID)
        await fetch(swarm.app.pool, "DELETE FROM missions")
        await fetch(swarm.app.pool, "DELETE FROM checkpoints")
        await fetch(swarm.app.pool, "ALTER TABLE audit_events DISABLE TRIGGER ALL")
        await fetch(swarm.app.pool, "TRUNCATE audit_events, audit_heads")
        await fetch(swarm.app.pool, "ALTER TABLE audit_events ENABLE TRIGGER ALL")
    assert kinds.count("mission.started") == kinds.count("mission.finished") == 1
    assert {(task["state"], task["attempt"]) for task in tasks} == {("done", 1)}
    return result


@pytest.mark.parametrize(
    "number",
    [pytest.param(signal.SIGINT, marks=pytest.mark.long), signal.SIGKILL],
    ids=["restarted", "killed"],
)
async def test_a_mission_goes_on_after_postgres_did(
    servers: EmbeddedServers, own: Path, feed: Path, number: signal.Signals
) -> None:
    async def harm() -> None:
        before = found(own).postmasters
        send(number, before)
        await until(lambda: found(own).postmasters not in ([], before))  # its keeper starts it again

    await interrupted(own, feed, harm)
    assert (await resumed(own)).status == "done"


@pytest.mark.long
async def test_a_mission_goes_on_after_postgres_hung(
    servers: EmbeddedServers, own: Path, feed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It stays connected and says nothing, as a server does whose disk hangs."""
    monkeypatch.setattr("chimera.store.postgres.ANSWER_TIMEOUT_S", 1)
    frozen: list[int] = []

    async def harm() -> None:
        frozen.extend([*found(own).postmasters, *found(own).backends])
        send(signal.SIGSTOP, frozen)

    try:
        await interrupted(own, feed, harm)
    finally:
        send(signal.SIGCONT, frozen)
    monkeypatch.undo()
    assert (await resumed(own)).status == "done"


async def test_what_was_appended_is_there_after_postgres_was_killed(servers: EmbeddedServers, own: Path) -> None:
    """The append returned, so it is on the disk: nothing of it was still to be written."""
    url = Layout(own).endpoints().database_url
    async with open_pool(url, 2) as pool:
        await ensure_schema(pool, may_upgrade=True)
        log = AuditLog(pool, SystemClock())
        before = await log.verify()
        told = [await log.append(AuditEvent("decision", "gateway")) for _ in range(20)]
        send(signal.SIGKILL, found(own).postmasters)
    await servers.acquire()
    async with open_pool(url, 2) as pool:
        kept = [row["hash"] for row in await fetch(pool, "SELECT hash FROM audit_events ORDER BY seq")]
        assert kept[before:] == told
        assert await AuditLog(pool, SystemClock()).verify() == before + 20


HOLDER = """
import asyncio, sys
from chimera.store.missions import MissionStore
from chimera.store.postgres import open_pool
async def main(url, mission_id):
    async with open_pool(url, 1) as pool, MissionStore(pool, url).running_alone(mission_id):
        print("held", flush=True)
        await asyncio.Event().wait()
asyncio.run(main(*sys.argv[1:]))
"""


async def test_a_killed_process_holds_nothing(servers: EmbeddedServers, own: Path) -> None:
    url = Layout(own).endpoints().database_url
    child = await asyncio.create_subprocess_exec(sys.executable, "-c", HOLDER, url, ID, stdout=subprocess.PIPE)
    assert child.stdout is not None
    async with asyncio.timeout(30), open_pool(url, 1) as pool:
        store = MissionStore(pool, url)
        assert await child.stdout.readline() == b"held\n"
        with pytest.raises(MissionBusy):
            async with store.running_alone(ID):
                pass
        child.kill()
        await child.wait()
        for _ in range(1_000):  # the server notices when it next looks at the connection
            try:
                async with store.running_alone(ID):
                    break
            except MissionBusy:
                await asyncio.sleep(0.01)
        else:
            pytest.fail("the mission is still held")


async def test_a_wrong_password_is_named_and_shown_nowhere(servers: EmbeddedServers, own: Path) -> None:
    layout = Layout(own)
    access = layout.postgres / "pg_hba.conf"
    trusting = access.read_text()
    url = layout.endpoints().database_url
    with psycopg.connect(make_conninfo(url, user="postgres"), autocommit=True) as admin:
        admin.execute("CREATE ROLE guarded LOGIN PASSWORD 'the right one'")
        try:
            access.write_text(f"local all guarded scram-sha-256\n{trusting}")
            admin.execute("SELECT pg_reload_conf()")
            async with open_pool(make_conninfo(url, user="guarded", password="the right one"), 1):
                pass
            for password in (SECRET, ""):
                with pytest.raises(StoreUnavailable) as refused:
                    async with open_pool(make_conninfo(url, user="guarded", password=password), 1):
                        pass
                assert refused.value.code == "CH301"
                assert "password" in refused.value.message
                assert SECRET not in f"{refused.value!r} {refused.value.__cause__!r} {refused.value.__context__!r}"
        finally:
            access.write_text(trusting)
            admin.execute("SELECT pg_reload_conf()")
            admin.execute("DROP ROLE guarded")


async def test_the_embedded_database_is_upgraded_without_a_question(
    servers: EmbeddedServers, own: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings.model_validate({"home": own})
    async with open_app(settings) as app:
        await fetch(app.pool, "INSERT INTO audit_heads VALUES ('kept', 0, '') ON CONFLICT DO NOTHING")
    known = known_migrations()
    added = (len(known) + 1, "added", "ALTER TABLE audit_heads ADD COLUMN added int NOT NULL DEFAULT 7")
    monkeypatch.setattr("chimera.store.migrate.known_migrations", lambda: [*known, added])
    async with open_app(settings) as app:
        (row,) = await fetch(app.pool, "SELECT added FROM audit_heads WHERE tenant = 'kept'")
        assert row["added"] == 7
        await fetch(app.pool, "ALTER TABLE audit_heads DROP COLUMN added")
        await fetch(app.pool, "DELETE FROM migrations WHERE version = %s", (len(known) + 1,))
        await fetch(app.pool, "DELETE FROM audit_heads WHERE tenant = 'kept'")


FULL_DISK = """
import asyncio, sys
from pathlib import Path
from chimera import ChimeraSwarm, Mission
from chimera.core.contracts import ReviewDecision
from chimera.core.errors import StoreFull
from chimera.core.settings import Settings
from chimera.guards.permissions.first import local_user
from chimera.store.embedded import EmbeddedServers

async def main(disk, feed, goal, mission_id):
    filler = Path(disk) / "filler"
    settings = Settings.model_validate({"home": disk})

    filled = []

    async def approve(item):
        if not filled:
            filled.append(item)
            with filler.open("wb", buffering=0) as filling:
                try:
                    while filling.write(bytes(1 << 16)):
                        pass
                except OSError:
                    pass
        return ReviewDecision(action="approve", reviewer=local_user())

    async with ChimeraSwarm(settings) as swarm:
        try:
            asked = Mission(goal=goal, inputs={"feed": feed})
            result = await swarm.run(asked, mission_id=mission_id, reviewer=approve, approve_plan=True)
            print("ended:", result.status, result.reasons)
        except StoreFull as full:
            print("StoreFull:", full, "|", full.hint)
        filler.unlink()
        result = await swarm.resume(mission_id, reviewer=approve)
        print("resumed:", result.status, await swarm.app.context.audit.verify() > 0)
    await EmbeddedServers(Path(disk)).stop()

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.mark.long
@pytest.mark.timeout(120)
def test_a_mission_goes_on_after_the_disk_was_full(tmp_path: Path, feed: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = f"mount -t tmpfs -o size=256m tmpfs '{disk}'"
    # Only root may mount: who is not, becomes root in a namespace of its own, mounts, and becomes itself again.
    become_root, become_self = ["unshare", "--mount"], ["env"]
    if os.geteuid() != 0:
        become_root = ["unshare", "--user", "--map-root-user", "--mount"]
        become_self = ["unshare", "--user", f"--map-user={os.getuid()}", f"--map-group={os.getgid()}"]
    shell = [*become_root, "sh", "-ec", f'{mount}\nexec "$@"', "sh", *become_self]
    if not shutil.which("unshare") or subprocess.run([*shell, "true"], capture_output=True, check=False).returncode:
        pytest.skip("mounting a small disk of our own is not allowed here")
    command = [*shell, sys.executable, "-c", FULL_DISK, str(disk), str(feed), GOAL, ID]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=110)
    told = done.stdout.splitlines()
    assert [line.split(":")[0] for line in told] == ["StoreFull", "resumed"], done
    assert "CH304" in told[0]
    assert "Free disk space" in told[0]
    assert "chimera resume" in told[0]
    assert told[1] == "resumed: done True"
    assert not found(disk).all()
