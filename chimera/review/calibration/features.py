"""What a confidence is made of: numbers of one judged result, each of which may be missing, and that counts too."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from chimera.core.contracts import Threat

NAMES = ("judge", "agreement", "grounded", "safe", "history")


@dataclass(frozen=True)
class Features:
    """All from 0 to 1, and the higher the better; None is missing. Nothing in it comes from the worker.

    ``judge``: how sure the judge was. ``agreement``: share of several opinions of the judge that agree. ``grounded``:
    share of the claims that their evidence holds. ``safe``: 1 without any threat in what tools said, 0 with the worst.
    ``history``: share of this persona's results so far that humans approved.
    """

    judge: float | None = None
    agreement: float | None = None
    grounded: float | None = None
    safe: float | None = None
    history: float | None = None

    def plain(self) -> dict[str, float | None]:
        """As JSON data."""
        return asdict(self)

    @classmethod
    def read(cls, stored: Mapping[str, Any]) -> "Features":
        """From JSON data; what is unknown or no number is missing."""
        return cls(**{name: _share(stored.get(name)) for name in NAMES})

    def columns(self) -> list[float]:
        """The numbers of the model: each value, nought when it is missing, and then a flag for each that is missing."""
        values = [getattr(self, name) for name in NAMES]
        return [value or 0.0 for value in values] + [float(value is None) for value in values]


def safety(threat: Threat) -> float:
    """How harmless what tools said looked, from 1 down to 0."""
    return 1.0 - list(Threat).index(threat) / (len(Threat) - 1)


def shrunk(approved: int, seen: int) -> float | None:
    """The share of a few that were approved, pulled to the middle as by one of each; None when none was seen."""
    return (approved + 1) / (seen + 2) if seen else None


def _share(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return min(1.0, max(0.0, float(value))) if math.isfinite(value) else None
