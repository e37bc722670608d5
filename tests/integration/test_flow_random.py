"""Any task graph, with any tasks that fail at first, for ever, or ask: what runs, how often, and what is done."""

from collections import Counter
from typing import TYPE_CHECKING, Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chimera import ReviewDecision, ReviewItem

if TYPE_CHECKING:
    from conftest import Stage, Turn

ATTEMPTS = 2
Kind = tuple[int, bool, frozenset[int]]


@st.composite
def graphs(draw: st.DrawFn) -> list[Kind]:
    """For each task: how many of its tries fail, whether it asks a human, and which earlier tasks it needs."""
    tasks: list[Kind] = []
    for number in range(draw(st.integers(1, 6))):
        needs = draw(st.frozensets(st.integers(0, number - 1), max_size=2)) if number else frozenset[int]()
        tasks.append((draw(st.sampled_from([0, 0, 0, 1, ATTEMPTS])), draw(st.booleans()), needs))
    return tasks


def done(tasks: list[Kind]) -> set[int]:
    """The tasks that can be done: they succeed within their tries, and so do all that they need."""
    found: set[int] = set()
    for number, (failing, _, needs) in enumerate(tasks):
        if failing < ATTEMPTS and needs <= found:
            found.add(number)
    return found


@settings(
    max_examples=6,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(tasks=graphs())
async def test_any_graph(stage: "Stage", tasks: list[Kind]) -> None:
    """Each task starts after those that it needs, is tried no more than allowed, and is done if it can be.

    Proves FR-7, FR-8, FR-12, FR-39 and FR-3: the mission is done, partial or failed as its tasks are.
    """
    order: list[int] = []
    asked: list[str] = []

    def work(turn: "Turn") -> Any:
        number = int(turn.task)
        failing, asks, _ = tasks[number]
        if asks and not turn.results and not turn.feedback:
            order.append(number)
            return stage.use("ledger__wipe", turn.task)
        if not turn.results:
            order.append(number)
        return "no" if order.count(number) <= failing else "yes"

    async def reviewer(item: ReviewItem) -> ReviewDecision:
        asked.append(str(item.payload.get("kind", "call")))
        return stage.decide()

    criteria = [{"kind": "contains", "value": "yes"}]
    plan = stage.plan(
        *(
            stage.task(number, *needs, title=str(number), criteria=criteria, tools=["ledger__wipe"] if asks else [])
            for number, (_, asks, needs) in enumerate(tasks)
        )
    )
    play = stage.play({"go": [plan]}, work)
    options: dict[str, Any] = {"max_attempts": ATTEMPTS, "max_replans": 0, "reviewer": reviewer}
    async with stage.swarm(play, ledger=any(asks for _, asks, _ in tasks), **options) as swarm:
        result = await swarm.run("go")
        rows = await swarm.app.context.missions.tasks(result.mission_id)
    can = done(tasks)
    assert {int(row["title"]) for row in rows if row["state"] == "done"} == can
    assert result.status == ("done" if len(can) == len(tasks) else "partial" if can else "failed"), result
    started = {number for number, (_, _, needs) in enumerate(tasks) if needs <= can}
    tries = {number: min(tasks[number][0] + 1, ATTEMPTS) for number in started}
    assert Counter(order) == tries
    for number, (_, _, needs) in enumerate(tasks):
        if number in started:
            assert all(order.index(number) > _last(order, need) for need in needs)
    assert asked.count("call") == sum(tasks[number][1] for number in started)
    assert asked.count("give_up") == (len(can) < len(tasks))


def _last(order: list[int], number: int) -> int:
    return len(order) - 1 - order[::-1].index(number)
