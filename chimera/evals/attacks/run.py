"""``chimera eval attacks``: measure the suites, report, and fail where a goal is missed."""

import time
from collections.abc import Sequence

from rich.console import Console

from chimera.core.clock import SystemClock
from chimera.core.errors import InputError
from chimera.core.figures import print_json
from chimera.evals.attacks.figures import Evaluation
from chimera.evals.attacks.measure import Plan, measure
from chimera.evals.attacks.suites import DEVELOPMENT, RESERVED, load_dojo, names
from chimera.evals.attacks.table import print_table

_PLANS: dict[str, tuple[Plan, ...]] = {"request": ("request",), "oracle": ("oracle",), "both": ("request", "oracle")}


def main_attacks(suites: str, plan: str, *, quick: bool, as_json: bool) -> int:
    """Measure and report; the exit code is 0 when every goal holds, else 1.

    ``suites``: names with commas between; empty takes all, or with ``quick`` half of the development suites.
    ``plan``: ``request``, ``oracle`` or ``both``; empty takes both, or with ``quick`` the request's.

    Raises:
        InputError: there is no such suite or plan.
        ExtraMissing: the extra ``evals`` is not installed.
    """
    wanted = [name.strip() for name in suites.split(",") if name.strip()]
    known = (*DEVELOPMENT, *RESERVED)
    if wrong := [name for name in wanted if name not in known]:
        raise InputError(f"no suite {wrong[0]}", remedy=f"Choose of {', '.join(known)}.")
    plan = plan or ("request" if quick else "both")
    if plan not in _PLANS:
        raise InputError(f"no plan {plan}", remedy=f"Choose of {', '.join(_PLANS)}.")
    evaluation = evaluate(names(wanted or (DEVELOPMENT if quick else known)), _PLANS[plan], quick=quick)
    if as_json:
        print_json(evaluation.measured.plain())
    else:
        print_table(evaluation, Console())
    return 1 if evaluation.measured.missed else 0


def evaluate(suites: Sequence[str], plans: Sequence[Plan], *, quick: bool) -> Evaluation:
    """Measure suites one after the other.

    Raises:
        ExtraMissing: the extra ``evals`` is not installed.
    """
    began, at = time.monotonic(), SystemClock().now().isoformat(timespec="seconds")
    dojo = load_dojo()
    results = [measure(dojo, name, plans, quick=quick) for name in suites]
    return Evaluation(results, plans, quick, time.monotonic() - began, at)
