"""What worked ranks a little higher next time: bounded, fading, and the same for the same outcomes.

Proves FR-333.
"""

import itertools

from hypothesis import given, settings
from hypothesis import strategies as st

from chimera.tools.discovery.documents import ToolDocument
from chimera.tools.discovery.index import ToolIndex
from chimera.tools.discovery.outcomes import HALF_LIFE_S, SHIFT_MAX, STEMS_MAX, Outcomes

REQUEST = "read the excel sheet"
TWINS = [
    ToolDocument("alpha__read_sheet", "alpha", "read_sheet", "Read an excel sheet."),
    ToolDocument("beta__read_sheet", "beta", "read_sheet", "Read an excel sheet."),
]


class Hands:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.at = 1_000_000.0

    def __call__(self) -> float:
        return self.at


def index_with(outcomes: Outcomes) -> ToolIndex:
    index = ToolIndex(outcomes=outcomes)
    for tool in TWINS:
        index.put(tool.server, [tool])
    return index


def first(index: ToolIndex) -> str:
    return index.search(REQUEST)[0].name


def test_of_two_alike_the_one_that_worked_comes_first_and_what_failed_falls_back() -> None:
    outcomes = Outcomes(Hands())
    index = index_with(outcomes)
    assert first(index) == "alpha__read_sheet", "by name"
    outcomes.record(REQUEST, "beta__read_sheet", worked=True)
    assert first(index) == "beta__read_sheet"
    outcomes.record(REQUEST, "beta__read_sheet", worked=False)
    outcomes.record(REQUEST, "beta__read_sheet", worked=False)
    assert first(index) == "alpha__read_sheet"


def test_another_request_is_not_concerned() -> None:
    outcomes = Outcomes(Hands())
    outcomes.record("book a flight to Oslo", "beta__read_sheet", worked=True)
    assert outcomes.shifts(REQUEST, ["beta__read_sheet", "alpha__read_sheet"]) == [0.0, 0.0]


def test_it_fades() -> None:
    now = Hands()
    outcomes = Outcomes(now)
    for _ in range(5):
        outcomes.record(REQUEST, "beta__read_sheet", worked=True)
    fresh = outcomes.shifts(REQUEST, ["beta__read_sheet"])[0]
    now.at += 5 * HALF_LIFE_S
    assert 0 < outcomes.shifts(REQUEST, ["beta__read_sheet"])[0] < 0.25 * fresh


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from("ab"), st.text(max_size=40), st.booleans()), max_size=60), st.text(max_size=40)
)
def test_however_many_outcomes_there_are_the_shift_is_bounded_and_the_same(
    told: list[tuple[str, str, bool]], request: str
) -> None:
    both = [Outcomes(Hands()), Outcomes(Hands())]
    for outcomes in both:
        for tool, query, worked in told:
            outcomes.record(query, tool, worked=worked)
    first_shifts, second_shifts = (outcomes.shifts(request, "ab") for outcomes in both)
    assert first_shifts == second_shifts
    assert all(-SHIFT_MAX < shift < SHIFT_MAX for shift in first_shifts)


def test_a_flood_of_outcomes_takes_bounded_memory() -> None:
    outcomes = Outcomes(Hands())
    words = ["".join(letters) for letters in itertools.islice(itertools.product("bdfgkl", repeat=4), STEMS_MAX * 2)]
    for word in words:
        outcomes.record(word, "beta__read_sheet", worked=True)
    assert outcomes.shifts(words[0], ["beta__read_sheet"]) == [0.0], "the oldest is forgotten"
    assert outcomes.shifts(words[-1], ["beta__read_sheet"])[0] > 0
