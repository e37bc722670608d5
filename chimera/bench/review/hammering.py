"""A process of reviewers that hammer a queue: ``python -m chimera.bench.review.hammering PLAN INDEX SEED``.

Index 0 acts upon decisions instead, as whoever keeps missions does, and writes each that it is handed to a file. Every
process can be killed at any moment; what it was in the middle of is what the parent then looks for.
"""

import asyncio
import json
import os
import random
import sys
from pathlib import Path
from typing import Any

from chimera.core.clock import SystemClock
from chimera.core.contracts import ReviewDecision
from chimera.core.errors import ChimeraError, ConflictError, GuardRejected
from chimera.core.ids import random_ids
from chimera.core.settings import Settings
from chimera.guards.bulk import Alike
from chimera.guards.decisions import Decisions
from chimera.guards.oversight import oversee
from chimera.review.queue import ReviewQueue
from chimera.review.rules import WorkRules
from chimera.review.work import Card
from chimera.store.audit import AuditLog
from chimera.store.postgres import Pool, fetch, open_pool

TENANT = "default"
RULES = WorkRules(quorum={"finance": 2}, claim_s=5.0)
"""Short claims: those of a killed process end while the others go on."""
LISTED, ALIKE, PAUSE_S = 40, 15, 0.2
_GRACES = (0.0, 0.0, 0.3, 1.0)
_TO_ACT = """
    SELECT id::text FROM reviews WHERE state = 'decided' AND taken_at IS NULL AND acts_at <= clock_timestamp() LIMIT 200
"""


class Reviewer:
    """Somebody who looks at the queue and does one thing after the other. ``odd``: errors that nobody expects."""

    def __init__(self, name: str, decisions: Decisions, seed: str) -> None:
        self.name = name
        self.odd: list[str] = []
        self._decisions = decisions
        self._pick = random.Random(seed)

    async def work(self) -> None:
        """Work until cancelled."""
        while True:
            cards = await self._decisions.desk.work.listed(TENANT, limit=LISTED)
            if not cards:
                await asyncio.sleep(PAUSE_S)
                continue
            try:
                await self._one(self._pick.choice(cards))
            except (ConflictError, GuardRejected):
                pass  # somebody else was faster, has it, or a second person has to agree
            except ChimeraError as error:
                self.odd.append(str(error)[:200])
                sys.stderr.write(f"{error}\n")

    async def _one(self, card: Card) -> None:
        desk, item, chance = self._decisions.desk, card.item.id, self._pick.random()
        if chance < 0.45:
            await desk.claim(item, self.name)
            await self._decide(card)
        elif chance < 0.65:
            await self._decide(card)
        elif chance < 0.75:  # on a version that it no longer is
            await desk.reassign(item, self.name, "role:operator", version=card.version)
            await self._decide(card)
        elif chance < 0.80:
            await desk.claim(item, self.name)
            await desk.release(item, self.name)
        elif chance < 0.97:
            await self._decide(card)
            await self._decide(card)  # twice, and what it says may differ
        else:
            await self._bulk(card)

    async def _decide(self, card: Card) -> None:
        grace = self._pick.choice(_GRACES)
        given: dict[str, Any] = {"action": self._pick.choice(("approve", "approve", "reject")), "reviewer": self.name}
        decision = ReviewDecision.model_validate({**given, "reason": f"of {self.name}"})
        await self._decisions.answer(card.item.id, decision, version=card.version, grace_s=grace)
        if grace and self._pick.random() < 0.5:
            await asyncio.sleep(self._pick.random() * grace * 1.3)
            await self._decisions.desk.undo(self.name, item_id=card.item.id)

    async def _bulk(self, card: Card) -> None:
        alike = Alike(TENANT, card.item.point.value, card.kind, limit=ALIKE)
        grace = self._pick.choice(_GRACES)
        done = await self._decisions.bulk.decide(alike, "approve", self.name, grace_s=grace)
        if grace and done.items and self._pick.random() < 0.5:
            await self._decisions.desk.undo(self.name, batch=done.batch)


async def act(pool: Pool, queue: ReviewQueue, log: Path) -> None:
    """Hand decisions over until cancelled, and write down each: its item and what was decided."""
    with log.open("a", encoding="utf-8") as acted:
        while True:
            rows = await fetch(pool, _TO_ACT)
            for row in rows:
                decision = await queue.hand_over(row["id"])
                if decision is not None:
                    acted.write(json.dumps([row["id"], decision.plain()]) + "\n")
            acted.flush()
            if not rows:
                await asyncio.sleep(PAUSE_S)


async def main(plan_file: str, index: int, seed: str) -> None:
    """Work as the plan says, as process number ``index``."""
    plan = json.loads(await asyncio.to_thread(Path(plan_file).read_text, "utf-8"))
    async with open_pool(plan["url"], 12) as pool:
        queue, clock = ReviewQueue(pool, RULES), SystemClock()
        audit = AuditLog(pool, clock)
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        if index == 0:
            await act(pool, queue, Path(plan["log"]))
            return
        settings = Settings.model_validate({"database_url": plan["url"]})
        decisions = oversee(settings, pool, queue, audit, clock, random_ids()).decisions
        async with asyncio.TaskGroup() as together:
            for name in plan["reviewers"][index - 1]:
                together.create_task(Reviewer(name, decisions, f"{seed} {name} {os.getpid()}").work())


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), sys.argv[3]))
