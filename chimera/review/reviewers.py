"""Who answers a question while a mission runs."""

from collections.abc import Awaitable, Callable
from typing import cast

from chimera.core.contracts import ReviewDecision, ReviewItem
from chimera.core.errors import ChimeraError
from chimera.core.plugins import REVIEWERS, plugin
from chimera.review.answers import kind_of, why_unusable

Reviewer = Callable[[ReviewItem], Awaitable[ReviewDecision | None]]
"""Answers an item, or gives None to leave it on the queue for somebody else."""

SCRIPTED = "scripted reviewer (not a human)"


async def scripted_reviewer(item: ReviewItem) -> ReviewDecision | None:
    """Approve all but calls that change things elsewhere, and payments in money that is worth something.

    For demos and tests; named as what it is.
    """
    payment = kind_of(item) == "payment" and item.payload.get("rehearsal") is not True
    harmful = "capability" in item.payload or payment
    return ReviewDecision(
        action="reject" if harmful else "approve",
        reviewer=SCRIPTED,
        reason="no human is here to take responsibility" if harmful else "unattended run",
    )


def plugged_in(name: str) -> Reviewer:
    """The reviewer of an installed plug-in.

    What it answers is checked: an answer that cannot be used would be asked for again and again. Raises, as it is
    called, ConfigError when the plug-in is broken; the mission then waits as it did.

    Raises:
        ConfigError: there is none of that name, or it cannot be loaded.
    """
    found = plugin(REVIEWERS, name)
    review = found.load()

    async def checked(item: ReviewItem) -> ReviewDecision | None:
        try:
            decision = cast("object", await review(item))
        except ChimeraError:
            raise
        except Exception as error:  # somebody else's code may raise anything
            raise found.broken(f"failed: {type(error).__name__}", error) from error
        if decision is None:
            return None
        if not isinstance(decision, ReviewDecision):
            raise found.broken(f"gives a {type(decision).__name__} instead of a ReviewDecision")
        if (why := why_unusable(item, decision)) is not None:
            raise found.broken(f"gives an answer that cannot be used: {why}")
        return decision

    return checked
