"""A policy that changes while Chimera runs: what is proposed, who approves it, and what holds meanwhile.

Proves FR-82 and FR-83 on a real database, with the file and several processes' watches on it. Who may approve, and the
question on the queue: tests/integration/test_decisions.py.
"""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from chimera.core.clock import SystemClock
from chimera.core.errors import ConflictError, GuardRejected, InputError
from chimera.core.ids import random_ids
from chimera.core.settings import Settings
from chimera.guards.gateway import SecurityGateway
from chimera.guards.oversight import Oversight, oversee
from chimera.guards.policy import watch as watching
from chimera.guards.policy.document import shipped_policy
from chimera.guards.policy.registry import Parts
from chimera.guards.policy.watch import PolicyWatch
from chimera.guards.request import Edge, GuardRequest
from chimera.review.queue import ReviewQueue
from chimera.store.audit import AuditLog
from chimera.store.postgres import Pool, fetch

SHIPPED = shipped_policy().text
BEFORE = shipped_policy().edges[Edge.OUTPUT].guards
AFTER = ["payment.not-configured" if name == "text.hidden" else name for name in BEFORE]
START, OUTPUT = SHIPPED.split("[edges.output]")
STRICTER = START + "[edges.output]" + OUTPUT.replace("text.hidden", "payment.not-configured")
FREE = SHIPPED.replace('approval = "human"', 'approval = "none"')


@pytest.fixture
def audit(pool: Pool, clock: SystemClock) -> AuditLog:
    return AuditLog(pool, clock)


@pytest.fixture
def store(
    pool: Pool, audit: AuditLog, clock: SystemClock, settings: Settings, database_url: str, enrol: Callable[..., None]
) -> Oversight:
    """The services of an installation where ada and bob may decide."""
    enrol(database_url, "ada", "bob")
    return oversee(settings, pool, ReviewQueue(pool), audit, clock, random_ids())


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "LOOK_AGAIN_S", 0.0)


def watch(store: Oversight, file: Path | None) -> PolicyWatch:
    return PolicyWatch(Parts(Settings.model_validate({"policy": file})), store.proposals)


async def history(store: Oversight) -> list[dict[str, Any]]:
    return await store.proposals.store.history()


async def decide(store: Oversight, digest: str, by: str = "ada", *, approve: bool = True) -> None:
    await store.decisions.about_policy(digest, approve=approve, by=by, reason="tested")


async def at_output(watched: PolicyWatch) -> list[str]:
    return [guard.rule for guard in (await watched.chains())[Edge.OUTPUT].guards]


async def kinds(pool: Pool) -> list[str]:
    return [row["kind"] for row in await fetch(pool, "SELECT kind FROM audit_events ORDER BY seq")]


async def test_without_a_file_the_shipped_policy_holds_and_nobody_is_asked(store: Oversight, pool: Pool) -> None:
    assert await at_output(watch(store, None)) == BEFORE
    assert await kinds(pool) == []


async def test_a_changed_file_holds_once_a_human_approved_it(
    store: Oversight, pool: Pool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Two processes look at it: both go on with the old one, it is proposed once, and both take it when it counts."""
    file = tmp_path / "policy.toml"
    file.write_text(SHIPPED, "utf-8")
    one, other = watch(store, file), watch(store, file)
    await asyncio.gather(one.chains(), other.chains())
    file.write_text(STRICTER, "utf-8")
    assert await asyncio.gather(at_output(one), at_output(other)) == [BEFORE, BEFORE]
    assert "approve" in one.problem
    caplog.clear()
    await one.chains()
    assert caplog.records == [], "what waits for a human is told once, and not every second"
    (proposed,) = await history(store)
    with pytest.raises(GuardRejected):
        await decide(store, proposed["digest"], "agent:team-1/t1")
    with pytest.raises(InputError):
        await decide(store, proposed["digest"], " ")
    await decide(store, proposed["digest"][:8])
    assert await asyncio.gather(at_output(one), at_output(other)) == [AFTER, AFTER]
    assert one.problem == ""
    assert await at_output(watch(store, file)) == AFTER, "and after a restart"
    assert await kinds(pool) == [
        "policy.proposed",
        "review.asked",
        "permission.refused",
        "review.answered",
        "policy.approved",
    ]
    with pytest.raises(ConflictError):
        await decide(store, proposed["digest"], "bob", approve=False)


async def test_the_gateway_decides_by_the_new_policy(store: Oversight, audit: AuditLog, tmp_path: Path) -> None:
    file = tmp_path / "policy.toml"
    file.write_text(STRICTER, "utf-8")
    gateway = SecurityGateway(watched := watch(store, file), audit)
    request = GuardRequest(edge=Edge.OUTPUT, payload={"answer": "x"})
    assert await gateway.validate_request("agent", request)
    assert watched.policy is not None
    await decide(store, (await history(store))[0]["digest"])
    decision = await gateway.validate_request("agent", request)
    assert (decision.action, decision.rules) == ("reject", ["payment.not-configured"])


@pytest.mark.parametrize("text", ["nonsense", STRICTER.replace("limit.output", "no.such"), "\x00", ""])
async def test_a_file_with_an_error_changes_nothing_and_is_on_the_record_once(
    store: Oversight, pool: Pool, tmp_path: Path, text: str
) -> None:
    file = tmp_path / "policy.toml"
    file.write_text(SHIPPED, "utf-8")
    watched = watch(store, file)
    await watched.chains()
    file.write_text(text, "utf-8")
    for _ in range(3):
        assert await at_output(watched) == BEFORE
    assert "CH204" in watched.problem
    assert await kinds(pool) == ["policy.refused"]
    file.write_text(SHIPPED, "utf-8")
    await watched.chains()
    assert watched.problem == ""


async def test_a_file_that_is_gone_or_no_text_changes_nothing(store: Oversight, tmp_path: Path) -> None:
    file = tmp_path / "policy.toml"
    watched = watch(store, file)
    assert await at_output(watched) == BEFORE
    file.write_bytes(b"\xff\xfe\x00")
    assert await at_output(watched) == BEFORE
    os.remove(file)
    file.mkdir()
    assert await at_output(watched) == BEFORE
    assert "CH204" in watched.problem


async def test_a_rejected_file_does_not_hold(store: Oversight, tmp_path: Path) -> None:
    file = tmp_path / "policy.toml"
    file.write_text(STRICTER, "utf-8")
    watched = watch(store, file)
    await watched.chains()
    await decide(store, (await history(store))[0]["digest"], approve=False)
    assert await at_output(watched) == BEFORE


async def test_a_policy_that_asks_nobody_is_changed_by_its_file_alone(
    store: Oversight, pool: Pool, tmp_path: Path
) -> None:
    """Only if the policy in force says so: a file cannot free itself."""
    file = tmp_path / "policy.toml"
    file.write_text(FREE, "utf-8")
    watched = watch(store, file)
    assert await at_output(watched) == BEFORE
    assert watched.policy is not None
    assert watched.policy.changes.approval == "human"
    await decide(store, (await history(store))[0]["digest"])
    await watched.chains()
    file.write_text(STRICTER.replace('"human"', '"none"'), "utf-8")
    assert await at_output(watched) == AFTER
    assert [kind for kind in await kinds(pool) if kind.startswith("policy")] == [
        "policy.proposed",
        "policy.approved",
        "policy.approved",
    ]
