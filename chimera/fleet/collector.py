"""Python's cyclic garbage collector, for a process that has thousands of agents under way."""

import gc

_YOUNG, _MIDDLE, _OLD = 100_000, 50, 1_000
"""New objects until it looks at the youngest, and how often it does that until it looks at older ones. Python's own
numbers make it walk through every agent's state again and again: a fifth of the CPU of a run, measured with 1,500."""


def calm_collector() -> None:
    """Leave what was imported so far out of account, and look for cycles rarely. For the start of a worker."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG, _MIDDLE, _OLD)
