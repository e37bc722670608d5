"""A process that dies right after it acted upon a decision leaves the decision on the record.

Proves TR-46 with real processes that kill themselves with SIGKILL in the very statement after the act, alone and while
other writers share their transaction; and that what was critical holds its agent back after such a death.
"""

import asyncio
import json
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from chimera.core.clock import SystemClock
from chimera.core.contracts import Threat
from chimera.guards.incidents import Incidents
from chimera.guards.request import Edge, GuardRequest
from chimera.review.queue import ReviewQueue
from chimera.store.audit import AuditLog
from chimera.store.audit.kinds import threat_of
from chimera.store.postgres import fetch, open_pool

CHILD = """
import asyncio, os, signal, sys
from chimera.core.clock import SystemClock
from chimera.core.contracts import Decision, Threat
from chimera.core.settings import Settings
from chimera.guards.gateway import Chain, SecurityGateway
from chimera.guards.incidents import Incidents
from chimera.guards.request import Edge, GuardRequest, reject
from chimera.review.queue import ReviewQueue
from chimera.store.audit import AuditLog
from chimera.store.audit.signing import load_signer
from chimera.store.postgres import open_pool

class Rule:
    rule = "flow.payee"
    async def check(self, request):
        return reject(self.rule, "stolen", Threat.CRITICAL) if request.payload["text"] == "steal" else None

async def main(url, home, acts, name, crowd, text):
    clock = SystemClock()
    async with open_pool(url, 4) as pool:
        log = AuditLog(pool, clock, load_signer(Settings(home=home, audit_checkpoint_every=3)))
        gateway = SecurityGateway({Edge.TOOL_CALL: Chain([Rule()])}, log)
        incidents = Incidents(pool, ReviewQueue(pool), log, clock)
        async def one(number, wait):
            who, request = f"agent:{name}-{number}", GuardRequest(edge=Edge.TOOL_CALL, payload={"text": text})
            decision = await gateway.validate_request(who, request)
            if decision.threat is Threat.CRITICAL:
                await incidents.opened(decision, request, who)
            file = os.open(acts, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
            os.write(file, f"{who} {decision.action}\\n".encode())  # the act: in the world, and nothing undoes it
            if number == wait:
                os.kill(os.getpid(), signal.SIGKILL)
        async with asyncio.TaskGroup() as group:
            for number in range(crowd):
                group.create_task(one(number, crowd // 2))
asyncio.run(main(sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4], int(sys.argv[5]), sys.argv[6]))
"""


async def died(database_url: str, folder: Path, name: str, crowd: int, text: str) -> None:
    """Run a process to its death."""
    arguments = (database_url, str(folder / "home"), str(folder / "acts"), name, str(crowd), text)
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", CHILD, *arguments)
    async with asyncio.timeout(50):
        assert await process.wait() == -signal.SIGKILL


def acts(folder: Path) -> list[tuple[str, str]]:
    """What was done in the world: by whom, upon which decision."""
    return [
        (who, action) for line in (folder / "acts").read_text("utf-8").splitlines() for who, action in [line.split()]
    ]


@pytest.mark.parametrize("crowd", [1, 40])
async def test_what_was_acted_upon_is_on_the_record(database_url: str, tmp_path: Path, crowd: int) -> None:
    """Two processes in turn, so that the second goes on with the chain that the first left."""
    for name in ("first", "second"):
        await died(database_url, tmp_path, name, crowd, "work")
    done = acts(tmp_path)
    assert len(done) >= 2
    async with open_pool(database_url, 2) as pool:
        log = AuditLog(pool, SystemClock())
        events: list[dict[str, Any]] = [
            json.loads(row["body"]) for row in await fetch(pool, "SELECT body FROM audit_events ORDER BY seq")
        ]
        recorded = [(event["actor"], event["data"]["action"]) for event in events]
        assert set(done) <= set(recorded)
        assert all(recorded.count(one) == 1 for one in done)
        assert await log.verify() == len(events)


async def test_what_was_critical_holds_its_agent_back_after_the_death(database_url: str, tmp_path: Path) -> None:
    await died(database_url, tmp_path, "thief", 1, "steal")
    assert acts(tmp_path) == [("agent:thief-0", "reject")]
    async with open_pool(database_url, 4) as pool:
        log = AuditLog(pool, SystemClock())
        incidents = Incidents(pool, ReviewQueue(pool), log, SystemClock())
        assert await incidents.is_quarantined("agent:thief-0", "default") is not None
        events = await log.tail("default", 10)
        assert [event["kind"] for event in events] == ["guard.decision", "incident.opened", "review.asked"]
        assert threat_of(events[0]) is Threat.CRITICAL
        (incident,) = await incidents.listed()
        assert incident.trail == events[1]["hash"]
        request = GuardRequest(edge=Edge.TOOL_CALL, payload={"text": "steal"})
        assert request.mission_id == incident.mission_id
