"""What was chosen for a request, and whether it worked: the next like request ranks it a little higher or lower.

Only our own verdicts are counted; nothing that a server says of itself is. What one tool can gain or lose is bounded,
needs several outcomes to be reached, and fades.
"""

import time
from collections.abc import Callable, Iterable

from chimera.store.outcomes import HALF_LIFE_S
from chimera.tools.discovery.words import stems

SHIFT_MAX = 0.5
"""The most that outcomes move a tool, in standard deviations of the candidates' scores."""
DOUBT = 4.0
"""How many outcomes it takes to move a tool half of the most."""
TOOLS_MAX = 10_000
STEMS_MAX = 200

_Counts = dict[str, tuple[float, float, float]]  # by stem: what worked, what did not, and when that was counted


class Outcomes:
    """Decayed counts by tool and stem. Deterministic: the same outcomes at the same times give the same shifts."""

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self._now = now
        self._tools: dict[str, _Counts] = {}

    def record(self, query: str, tool: str, *, worked: bool) -> None:
        """Count that a tool, by its full name, was used for a request, and whether it worked."""
        at = self._now()
        counts = self._tools.pop(tool, {})
        for stem in dict.fromkeys(stems(query)):
            good, bad = _faded(counts.pop(stem, (0.0, 0.0, at)), at)
            counts[stem] = (good + worked, bad + (not worked), at)
        while len(counts) > STEMS_MAX:
            del counts[next(iter(counts))]
        self._tools[tool] = counts
        while len(self._tools) > TOOLS_MAX:
            del self._tools[next(iter(self._tools))]

    def counted(self, tool: str, stem: str, worked: float, failed: float, at: float) -> None:
        """Take over what was counted elsewhere of a tool and a stem, as it was at the time ``at``."""
        self._tools.setdefault(tool, {})[stem] = (worked, failed, at)

    def shifts(self, query: str, tools: Iterable[str]) -> list[float]:
        """For each tool, what its outcomes for like requests say: between ``-SHIFT_MAX`` and ``SHIFT_MAX``."""
        asked, at = list(dict.fromkeys(stems(query))), self._now()
        return [self._shift(self._tools.get(tool), asked, at) for tool in tools]

    def _shift(self, counts: _Counts | None, asked: list[str], at: float) -> float:
        if not counts or not asked:
            return 0.0
        said = 0.0
        for stem in asked:
            good, bad = _faded(counts.get(stem, (0.0, 0.0, at)), at)
            said += (good - bad) / (good + bad + DOUBT)
        return SHIFT_MAX * said / len(asked)


def _faded(count: tuple[float, float, float], at: float) -> tuple[float, float]:
    good, bad, counted = count
    left = 0.5 ** (max(at - counted, 0.0) / HALF_LIFE_S)
    return good * left, bad * left
