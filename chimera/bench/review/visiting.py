"""Reviewers who hammer the pages of a server: ``python -m chimera.bench.review.visiting PLAN SEED``.

Each has a session, as a browser has, and sends what the page of the queue sends. When the server is killed, they do not
know what became of their last answer; they wait until it is there again, and go on.
"""

import asyncio
import json
import random
import re
import sys
from http import HTTPStatus
from pathlib import Path

import httpx

from chimera.bench.review.hammering import LISTED, PAUSE_S

AT_PAGE = "at the page"
"""The reason that they give."""
_ROW = re.compile(r'data-item="([^"]+)" data-version="(\d+)"')
_UNDO = re.compile(r'data-undo="([^"]+)"')
_REFUSED = {HTTPStatus.CONFLICT, HTTPStatus.FORBIDDEN}
"""Somebody else was faster or has it, or a second person has to agree."""


class Visiting:
    """Somebody at the page. ``lost_contact``: how often the server went away while he waited for its word."""

    def __init__(self, client: httpx.AsyncClient, seed: str) -> None:
        self.lost_contact = 0
        self._client = client
        self._pick = random.Random(seed)

    async def work(self) -> None:
        """Work until cancelled."""
        while True:
            try:
                await self._look()
            except httpx.TransportError:
                self.lost_contact += 1
                await asyncio.sleep(PAUSE_S)

    async def _look(self) -> None:
        listed = await self._client.get("/reviews/list", params={"limit": LISTED})
        rows = _ROW.findall(listed.text)
        if listed.status_code != HTTPStatus.OK:
            sys.stderr.write(f"the queue: {listed.status_code} {listed.text[:200]!r}\n")
        if not rows:
            await asyncio.sleep(PAUSE_S)
            return
        item, version = self._pick.choice(rows)
        chance = self._pick.random()
        if chance < 0.3:
            await self._send(f"/reviews/{item}/move", to_do="claim")
        if chance < 0.95:
            await self._decide(item, version)
        if chance > 0.8:  # twice, and what it says may differ
            await self._decide(item, version)

    async def _decide(self, item: str, version: str) -> None:
        action = self._pick.choice(("approve", "approve", "reject"))
        said = await self._send(f"/reviews/{item}/decide", action=action, reason=AT_PAGE, version=version)
        undo = _UNDO.search(said)
        if undo and self._pick.random() < 0.1:
            await asyncio.sleep(self._pick.random())
            await self._send("/reviews/undo", item=undo[1])

    async def _send(self, path: str, **form: str) -> str:
        answer = await self._client.post(path, data=form)
        if answer.status_code in _REFUSED:
            return ""
        if answer.status_code != HTTPStatus.OK:
            sys.stderr.write(f"{path}: {answer.status_code} {answer.text[:200]!r}\n")
        return answer.text


async def main(plan_file: str, seed: str) -> None:
    """Work as the plan says."""
    plan = json.loads(await asyncio.to_thread(Path(plan_file).read_text, "utf-8"))
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    async with asyncio.TaskGroup() as together:
        for place, (token, csrf) in enumerate(plan["sessions"]):
            headers = {"Cookie": f"chimera_session={token}", "X-CSRF": csrf, "HX-Request": "true"}
            client = httpx.AsyncClient(base_url=plan["address"], headers=headers, timeout=30.0)
            together.create_task(Visiting(client, f"{seed} {place}").work())


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2]))
