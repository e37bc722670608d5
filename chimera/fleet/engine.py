"""The port through which runs get from whoever wants them to whoever carries them out.

Whatever the engine, Postgres is the truth: a run is recorded there before anybody hears of it, a fenced claim there
decides who carries it out, and what became of it is recorded there. An engine only decides how workers learn that there
is something to claim, and callers that something is over; what it loses of that costs time and nothing else.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from chimera.store.checkpoints.group import Lease
from chimera.store.runs import Claim, Ending, NewRun


@dataclass(frozen=True)
class Ended:
    """What became of a run: done with its outcome; failed, dead or cancelled with its error."""

    state: str
    outcome: Mapping[str, Any] | None
    error: Mapping[str, Any] | None


class Engine(Protocol):
    """Hands runs to workers."""

    name: str

    # --- for whoever wants something done ------------------------------------------------------------------------

    async def enqueue(self, runs: Sequence[NewRun]) -> list[str]:
        """Record runs to be carried out; the ids of those that were not known yet."""
        ...

    async def cancel(self, run_id: str) -> str:
        """Cancel a run; its state now, which stays ``running`` until its worker let go of it."""
        ...

    async def replay(self, run_id: str, deadline_s: float | None = None) -> None:
        """Let a run that failed, is dead or was cancelled run again, with a new deadline or none."""
        ...

    async def ended(self, run_id: str, timeout_s: float) -> Ended | None:
        """Wait until a run is over; None when the time is up."""
        ...

    # --- for workers ---------------------------------------------------------------------------------------------

    async def register(self, worker: str, concurrency: int, pools: Sequence[str] | None, ttl_s: float) -> Lease:
        """Begin a worker's turn."""
        ...

    async def renew(self, lease: Lease, ttl_s: float) -> str:
        """Keep the lease; ``draining`` when the worker is asked to stop. Raises LeaseLost."""
        ...

    async def leave(self, lease: Lease) -> None:
        """End a worker's turn."""
        ...

    async def drain(self, worker: str) -> None:
        """Ask a worker to finish its steps, give back the rest and stop."""
        ...

    async def claim(self, lease: Lease, room: int, pools: Sequence[str] | None) -> list[Claim]:
        """Claim up to ``room`` runs."""
        ...

    async def begin(self, claim: Claim) -> None:
        """Say that a claimed run begins, of one that was on a worker that was lost."""
        ...

    async def excuse(self, lease: Lease) -> None:
        """Say that a worker which lost its lease is well: none of its runs is to blame."""
        ...

    async def strays(self, lease: Lease, known: Sequence[str]) -> list[Claim]:
        """What the worker has claimed besides the ``known`` ones, as when an answer to a claim was lost."""
        ...

    async def end(self, endings: Sequence[Ending]) -> dict[str, str]:
        """Say what became of claimed runs; the new states of those whose fence held."""
        ...

    async def stops(self, worker: str) -> list[tuple[str, int, str]]:
        """Runs that the worker shall let go of: id, fence, ``cancel`` or ``release``."""
        ...

    async def sweep(self) -> dict[str, str]:
        """Give the runs of lost workers to others, and tell again of what nobody came for."""
        ...

    async def arrival(self, room: int, pools: Sequence[str] | None, timeout_s: float) -> None:
        """Return when there may be something to claim, at the latest after ``timeout_s``."""
        ...

    async def asked(self, worker: str, timeout_s: float) -> None:
        """Return when somebody asked something of the worker, at the latest after ``timeout_s``."""
        ...
