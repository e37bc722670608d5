"""The parts of ``chimera bench review`` about the queue print one object, and what must hold at any speed holds.

Proves FR-733. No time is compared with a goal here.
"""

import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from chimera.bench.review.hammer import counted
from chimera.store.postgres import Pool, fetch

MISSION = "0b9d5a52-9a5e-4a39-8e0b-4a8d2b6d0c11"


def measured(environment: dict[str, str], part: str) -> Any:
    command = [sys.executable, "-m", "chimera", "bench", "review", "--part", part, "--quick", "--json"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=280, check=False)
    found = json.loads(done.stdout)
    assert found["pass"] is (done.returncode == 0)
    return found


@pytest.mark.long
@pytest.mark.timeout(300)
def test_no_question_is_lost_or_decided_twice(child_environment: Callable[..., dict[str, str]]) -> None:
    found = measured(child_environment(), "hammer")["figures"]
    assert (found["lost"], found["doubled"], found["unexpected"]) == (0, 0, 0)
    assert found["hammer_items"] == 800
    assert found["server_kills"] > 0
    assert found["hammer_kills"] > found["server_kills"]
    assert found["decided_at_pages"] > 0
    assert found["taken_back"] > 0


@pytest.mark.long
@pytest.mark.timeout(300)
def test_every_mission_goes_on(child_environment: Callable[..., dict[str, str]]) -> None:
    found = measured(child_environment(), "resuming")["figures"]
    assert (found["resumed"], found["resume_missing"]) == (8, 0)
    assert 0 < found["resume_p50_ms"] <= found["resume_p95_ms"] <= found["resume_max_ms"]


def said(action: str, reviewer: str = "ada") -> dict[str, Any]:
    return {"action": action, "reviewer": reviewer, "reason": "", "payload": None}


@pytest.mark.parametrize(
    ("record", "acted", "state", "lost", "doubled"),
    [
        (["approve"], ["approve"], "approve", 0, 0),
        (["approve", "", "reject"], ["reject"], "reject", 0, 0),
        (["approve"], [], "approve", 0, 0),
        ([], [], "approve", 1, 0),
        (["approve", ""], [], None, 1, 0),
        (["approve"], [], "reject", 1, 0),
        (["approve", "approve"], ["approve"], "approve", 0, 1),
        (["approve", "", "reject"], ["approve", "reject"], "reject", 0, 1),
        (["approve", "", "reject"], ["approve"], "reject", 0, 1),
    ],
)
async def test_what_is_lost_or_doubled_is_counted(
    pool: Pool, tmp_path: Any, record: list[str], acted: list[str], state: str | None, lost: int, doubled: int
) -> None:
    """The count itself: an answer without a record, one that was taken back after somebody acted upon it, and so on."""
    from chimera.core.clock import SystemClock
    from chimera.store.audit import AuditEvent, AuditLog

    await fetch(
        pool,
        "INSERT INTO missions (id, tenant, goal, mission, context_version, status, deadline_at) "
        "VALUES (%s, 'default', 'g', '{}', 'v', 'running', now())",
        (MISSION,),
    )
    await fetch(
        pool,
        "INSERT INTO reviews (id, mission_id, tenant, point, question, payload, confidence, reasons, state, decision, "
        "acts_at) VALUES (%(id)s, %(id)s, 'default', 'quality', '?', '{}', 0.5, '[]', %(state)s, %(decision)s, %(at)s)",
        {
            "id": MISSION,
            "state": "decided" if state else "open",
            "decision": json.dumps(said(state)) if state else None,
            "at": SystemClock().now() if state else None,
        },
    )
    audit = AuditLog(pool, SystemClock())
    for one in record:
        data = {"item": MISSION, **(said(one) if one else {})}
        await audit.append(AuditEvent("review.answered" if one else "review.undone", "ada", None, "default", data))
    log = tmp_path / "acted.jsonl"
    log.write_text("".join(json.dumps([MISSION, said(one)]) + "\n" for one in acted), "utf-8")
    found = await counted(pool, log)
    assert (found["lost"], found["doubled"]) == (lost, doubled)
