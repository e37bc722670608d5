"""Processes that are interrupted, that stall, that die again and again, and that meet each other at one mission."""

import signal
import sys
import uuid
from collections import Counter
from typing import TYPE_CHECKING

import psycopg
import pytest

if TYPE_CHECKING:
    from conftest import Undertaker

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="what is left of a process is read from /proc")

EFFECTS = {"left wall", "right wall", "roof", "paint"}
AT_WORK = ("after EffectJournal.begin", 2)
"""Two agents are on their way to their effects."""


def status(undertaker: "Undertaker", mission_id: str) -> str:
    """What the record says of a mission."""
    (row,) = undertaker.rows("SELECT status FROM missions WHERE id = %s", mission_id)
    return str(row["status"])


def each_once(undertaker: "Undertaker", mission_id: str) -> bool:
    """Whether every effect happened, and the ones that may not happen twice did not."""
    times = Counter(effect["text"] for effect in undertaker.effects(mission_id))
    return set(times) == EFFECTS and all(times[text] == 1 for text in EFFECTS - {"paint"})


def test_a_second_process_is_refused_as_long_as_the_first_one_lives(undertaker: "Undertaker") -> None:
    """The first one is stopped, not dead: it may wake up. When it is killed, the second one may. Proves FR-28."""
    mission_id = str(uuid.uuid4())
    first = undertaker.order("run", mission_id, at=["after MissionStore.start_task", 3])
    undertaker.hear("at", pid=first)
    second = undertaker.order("resume", mission_id)
    said = undertaker.hear("result", "error", pid=second)
    assert said["error"]["code"] == "CH703"
    undertaker.kill(first)
    assert undertaker.resumed(mission_id)["status"] == "done"
    assert each_once(undertaker, mission_id)


@pytest.mark.parametrize("point", [AT_WORK, pytest.param(("before AuditLog.append", 9), marks=pytest.mark.long)])
def test_ctrl_c_ends_in_order(undertaker: "Undertaker", point: tuple[str, int]) -> None:
    """The servers are left, the record says that the mission goes on, and it does.

    Proves FR-29: no child process stays, what was committed stays.
    """
    mission_id = str(uuid.uuid4())
    pid = undertaker.order("run", mission_id, at=point, then="hang")
    undertaker.hear("at", pid=pid)
    undertaker.kill(pid, signal.SIGINT)
    assert undertaker.hear("interrupted", "result", "error", pid=pid).get("interrupted")
    assert undertaker.no_orphans()
    assert status(undertaker, mission_id) in ("running", "waiting")
    finished, turns = undertaker.done(mission_id), len(undertaker.turns(mission_id))
    assert undertaker.resumed(mission_id)["status"] == "done"
    assert not finished & {turn["task"] for turn in undertaker.turns(mission_id)[turns:]}
    assert each_once(undertaker, mission_id)


def test_a_process_that_is_asked_to_go_leaves_nobody_behind(undertaker: "Undertaker") -> None:
    """SIGTERM, which nobody handles here, ends the process at once; its servers follow. Proves FR-29 and FR-27."""
    mission_id = str(uuid.uuid4())
    pid = undertaker.order("run", mission_id, at=AT_WORK, then="hang")
    undertaker.hear("at", pid=pid)
    undertaker.kill(pid, signal.SIGTERM)
    assert undertaker.no_orphans()
    assert undertaker.resumed(mission_id)["status"] == "done"
    assert each_once(undertaker, mission_id)


def test_another_process_cancels(undertaker: "Undertaker") -> None:
    """The one that runs the mission stops by itself, and its servers with it. Proves FR-22."""
    mission_id = str(uuid.uuid4())
    pid = undertaker.order("run", mission_id, at=["after MissionStore.commit_task", 2], then="hang")
    undertaker.hear("at", pid=pid)
    assert undertaker.hear("cancelled", pid=undertaker.order("cancel", mission_id))["cancelled"]
    result = undertaker.hear("result", "error", pid=pid)["result"]
    assert (result["status"], status(undertaker, mission_id)) == ("cancelled", "cancelled")
    finished = undertaker.done(mission_id)
    assert finished
    assert all(title in result["answer"] for title in finished)
    assert undertaker.no_orphans()
    assert undertaker.resumed(mission_id)["status"] == "done"
    assert each_once(undertaker, mission_id)


def test_one_death_after_the_other(undertaker: "Undertaker") -> None:
    """Whoever resumes is killed as well, eight times, each a little later. Proves FR-27 and LAW-7."""
    mission_id = str(uuid.uuid4())
    what, finished, turns = "run", set[str](), 0
    for _ in range(8):
        pid = undertaker.order(what, mission_id, at=["after GroupCommitSaver.aput", 9])
        said = undertaker.hear("at", "result", "error", pid=pid)
        undertaker.kill(pid)
        assert undertaker.no_orphans()
        assert not finished & {turn["task"] for turn in undertaker.turns(mission_id)[turns:]}
        what, finished, turns = "resume", undertaker.done(mission_id), len(undertaker.turns(mission_id))
        if "at" not in said:
            break
    assert undertaker.resumed(mission_id)["status"] == "done"
    assert each_once(undertaker, mission_id)


@pytest.mark.parametrize(
    "point",
    [
        ("before MissionStore.commit_task", 1),
        pytest.param(("before EffectJournal.begin", 1), marks=pytest.mark.long),
        pytest.param(("before GroupCommitSaver.aput", 12), marks=pytest.mark.long),
    ],
)
def test_a_process_that_stalls_and_wakes_up_late_changes_nothing(
    undertaker: "Undertaker", point: tuple[str, int]
) -> None:
    """It is stopped so long that its hold is gone and another process has finished the mission; then it wakes up.

    Proves FR-28 and LAW-7: it finds out and ends; result, tasks and effects are those of the other one.
    """
    mission_id = str(uuid.uuid4())
    stalled = undertaker.order("run", mission_id, at=point)
    undertaker.hear("at", pid=stalled)
    with psycopg.connect(undertaker.database_url, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_locks JOIN pg_database ON oid = database "
            "WHERE locktype = 'advisory' AND datname = current_database()"
        )
    result = undertaker.resumed(mission_id)
    assert result["status"] == "done"
    tasks = undertaker.rows("SELECT * FROM tasks WHERE mission_id = %s ORDER BY team, id", mission_id)
    undertaker.kill(stalled, signal.SIGCONT)
    said = undertaker.hear("result", "error", pid=stalled)
    assert said["error"]["code"] == "CH301"
    assert undertaker.no_orphans()
    assert each_once(undertaker, mission_id)
    assert undertaker.rows("SELECT * FROM tasks WHERE mission_id = %s ORDER BY team, id", mission_id) == tasks
    (row,) = undertaker.rows("SELECT status, result FROM missions WHERE id = %s", mission_id)
    assert (row["status"], row["result"]) == ("done", result)
    assert undertaker.resumed(mission_id) == result
