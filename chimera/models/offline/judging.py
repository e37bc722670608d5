"""An opinion by rules on criteria in plain words: whether the result speaks of what the criterion asks."""

from typing import Any

from chimera.core.lexical import stems

SPOKEN_OF = 0.5
"""The least share of a criterion's words that the result must mention."""


def judge(request: dict[str, Any]) -> dict[str, Any]:
    """Word overlap of each criterion with the answer. It can find a result off the subject, not a wrong one."""
    result = str(request["answer"])
    spoken = set(stems(result))
    checks: list[dict[str, Any]] = []
    for criterion in request["criteria"]:
        wanted = set(stems(criterion))
        covered = len(wanted & spoken) / len(wanted) if wanted else 1.0
        why = f"offline rules: {covered:.0%} of the criterion's words occur in the result"
        checks.append({"criterion": criterion, "passed": covered >= SPOKEN_OF, "why": why})
    passed = sum(check["passed"] for check in checks) / len(checks) if checks else 1.0
    return {"checks": checks, "confidence": round(0.55 + 0.25 * passed, 2)}
