"""What the database's functions answer, as our errors."""

from chimera.core.errors import (
    BudgetMissing,
    ChimeraError,
    ConflictError,
    InputError,
    IntentConflict,
    IntentExpired,
    IntentNotFound,
    IntentState,
    OverBudget,
    TooMuch,
)

DONE = "ok"
DUPLICATE = "duplicate"
"""It was done before, in the same way: nothing is done again, and nothing is wrong."""


def refusal(outcome: str, detail: str, intent: str) -> ChimeraError:
    """The error for an outcome that is neither done nor a duplicate. ``detail``: a state, budget, units or asset."""
    about = {"intent": intent}
    match outcome:
        case "unknown":
            return IntentNotFound(f"there is no payment {intent[:60]}", **about)
        case "over":
            return OverBudget(f"payment {intent} does not fit into budget {detail}", budget=int(detail), **about)
        case "frozen":
            return OverBudget(
                f"budget {detail}, which payment {intent} falls into, is frozen", budget=int(detail), **about
            )
        case "uncovered":
            return BudgetMissing(f"no budget covers {detail} of payment {intent}", asset=detail, **about)
        case "budget":
            return BudgetMissing(f"budget {detail} does not count payment {intent}", budget=detail, **about)
        case "digest":
            return IntentConflict(f"payment {intent} is not the one that was approved", **about)
        case "conflict":
            return IntentConflict(f"payment {intent} was done before, in another way", **about)
        case "expired":
            return IntentExpired(f"payment {intent} has expired", **about)
        case "too_much":
            return TooMuch(f"payment {intent}: at most {detail} atomic units", **about)
        case "bad_amount":
            return InputError(f"payment {intent}: the amount is no whole number of atomic units", **about)
        case "state" | "money":
            return IntentState(f"payment {intent} is {detail}", state=detail, **about)
        case _:
            return ConflictError(f"payment {intent}: {outcome} {detail}", **about)
