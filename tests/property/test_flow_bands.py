"""For any plan and any numbers: tasks run in an order that their needs allow, and bands leave no gap."""

from hypothesis import given
from hypothesis import strategies as st

from chimera.core.contracts import Check, Plan, Task
from chimera.nodes.dispatch import ready_tasks
from chimera.nodes.judge import verdict_of

UNIT = st.floats(0, 1, allow_nan=False)
DAGS = st.integers(1, 8).flatmap(
    lambda count: st.tuples(
        *(st.frozensets(st.integers(1, max(1, number - 1)), max_size=3) for number in range(1, count + 1))
    )
)


@given(confidence=UNIT, least=UNIT, enough=UNIT, passed=st.lists(st.booleans(), max_size=4))
def test_every_verdict_has_its_band(confidence: float, least: float, enough: float, passed: list[bool]) -> None:
    """Approved only when every check passed and both bands are reached; never milder for less confidence.

    Proves FR-14 and FR-43.
    """
    checks = [Check(criterion="c", passed=one, why="w") for one in passed]
    verdict = verdict_of(checks, confidence, least, enough)
    if not all(passed) or confidence < least:
        assert verdict.outcome == "retry"
        assert verdict.reasons
    else:
        assert verdict.outcome == ("escalate" if confidence < enough else "approve")
    assert verdict.confidence == confidence
    mildness = ["retry", "escalate", "approve"]
    less = verdict_of(checks, confidence / 2, least, enough)
    assert mildness.index(less.outcome) <= mildness.index(verdict.outcome)


@given(needs=DAGS, failing=st.sets(st.integers(1, 8)))
def test_waves_run_everything_that_can_run_once(needs: tuple[frozenset[int], ...], failing: set[int]) -> None:
    """Proves FR-7 and FR-8: in waves, each task once, after its needs; what needs a failed one never."""
    tasks = [
        Task(
            id=f"t{number}",
            title="t",
            instruction="i",
            depends_on=[f"t{need}" for need in sorted(found) if need < number],
        )
        for number, found in enumerate(needs, 1)
    ]
    fails = {f"t{number}" for number in failing}
    states: dict[str, str] = {}
    while wave := ready_tasks({"plan": Plan(tasks=tasks).plain(), "states": states}):  # pyright: ignore[reportArgumentType]
        assert not set(wave) & set(states)
        assert all(states.get(need) == "done" for task in tasks if task.id in wave for need in task.depends_on)
        states |= {name: "failed" if name in fails else "done" for name in wave}
    for task in tasks:
        blocked = any(states.get(need) != "done" for need in task.depends_on)
        assert (task.id not in states) == blocked
