"""What the rules answer a reviewer: what they know of the work, and that they are rules."""

from typing import Any


def reply(request: dict[str, Any]) -> dict[str, Any]:
    """The form ``Reply``: the reasons that stand with what is shown; rules have no others."""
    found: list[Any] = request.get("reasons") or []
    reasons = [str(reason) for reason in found]
    known = f"The reasons on record: {'; '.join(reasons)}." if reasons else "There are no reasons on record."
    return {"answer": f"These are offline rules, which explain nothing beyond what is shown. {known}"[:2_000]}
