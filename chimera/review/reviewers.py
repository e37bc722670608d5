"""Who answers a question while a mission runs."""

from collections.abc import Awaitable, Callable

from chimera.core.contracts import ReviewDecision, ReviewItem

Reviewer = Callable[[ReviewItem], Awaitable[ReviewDecision | None]]
"""Answers an item, or gives None to leave it on the queue for somebody else."""

SCRIPTED = "scripted reviewer (not a human)"


async def scripted_reviewer(item: ReviewItem) -> ReviewDecision | None:
    """Approve everything but calls that change things elsewhere. For demos and tests; its name says what it is."""
    harmful = "capability" in item.payload
    return ReviewDecision(
        action="reject" if harmful else "approve",
        reviewer=SCRIPTED,
        reason="no human is here to take responsibility" if harmful else "unattended run",
    )
