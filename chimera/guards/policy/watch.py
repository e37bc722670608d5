"""The policy in force: read from its file, changed without a restart, and never by a file alone."""

import asyncio
import logging
import time
from pathlib import Path

from chimera.core.errors import PolicyInvalid
from chimera.core.ids import digest
from chimera.guards.gateway import Chains
from chimera.guards.policy.document import MAX_BYTES, Policy, read_policy, shipped_policy
from chimera.guards.policy.proposing import Proposals
from chimera.guards.policy.registry import Parts, build_chains

LOOK_AGAIN_S = 1.0
_log = logging.getLogger(__name__)


class PolicyWatch:
    """Gives the gateway the chains of the policy in force.

    With no file of one's own, that is the policy which Chimera ships with. A file is looked at every second. What
    cannot be read changes nothing and is on the record; what can be waits for a human, if the policy in force says so.
    """

    def __init__(self, parts: Parts, proposals: Proposals) -> None:
        self._parts = parts
        self._proposals = proposals
        self._path: Path | None = parts.settings.policy
        self._turn = asyncio.Lock()
        self._looked_at = float("-inf")
        self._bad = ""
        self.policy: Policy | None = None
        """The policy in force, once the first request was decided."""
        self.problem = ""
        """Why a file that is there is not in force; empty when it is."""
        self._chains: Chains = {}

    async def chains(self) -> Chains:
        """The guards of every edge, as the policy in force has them.

        Raises:
            StoreError: what was approved cannot be read. PolicyInvalid: not even the shipped policy can be used.
        """
        if time.monotonic() - self._looked_at >= LOOK_AGAIN_S:
            async with self._turn:
                if time.monotonic() - self._looked_at >= LOOK_AGAIN_S:
                    await self._look()
                    self._looked_at = time.monotonic()
        return self._chains

    async def _look(self) -> None:
        if self.policy is None:
            await self._start()
        if self._path is None or self.policy is None:
            return
        text = await asyncio.to_thread(_text, self._path)
        if text == self.policy.text:
            self.problem = self._bad = ""
            return
        if digest(text) == self._bad:
            return
        try:
            found = read_policy(text)
            chains = build_chains(found, self._parts)
        except PolicyInvalid as error:
            self._bad, self.problem = digest(text), str(error)
            _log.error("the policy %s is not taken, the one before it holds: %s", self._path, error)
            await self._proposals.store.refused(digest(text)[:32], error.message)
            return
        state = await self._proposals.put_forward(found, self.policy)
        if state == "approved":
            self.policy, self._chains, self.problem = found, chains, ""
            return
        problem = f"{found.digest} is {state}; `chimera policy approve {found.digest}` puts it in force"
        if self.problem != problem:
            self.problem = problem
            _log.warning("the policy %s is not in force: %s", self._path, problem)

    async def _start(self) -> None:
        """What held last, if it still can; else what Chimera ships with."""
        last = await self._proposals.store.newest_approved() if self._path else None
        if last is not None:
            try:
                policy = read_policy(last["body"])
                self._chains = build_chains(policy, self._parts)
            except PolicyInvalid as error:  # of an older version, or a guard of a plug-in that is gone
                _log.error("the approved policy %s can no longer be used: %s", last["digest"], error)
            else:
                self.policy = policy
                return
        policy = shipped_policy()
        self._chains = build_chains(policy, self._parts)
        self.policy = policy


def _text(path: Path) -> str:
    """What the file says; what is no text, or too long, says nothing that can be read."""
    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1).decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        return f"unreadable: {type(error).__name__}"
