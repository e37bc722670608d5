"""A plan as a form: what is written in its fields is the plan that goes on.

Proves FR-785 and FR-786.
"""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chimera.core.contracts import Plan, ReviewItem, ReviewPoint
from chimera.core.errors import InputError
from chimera.server.pages.planning import as_fields, edited_plan, shown_plan

TASKS: list[dict[str, Any]] = [
    {"id": "t1", "title": "Read", "instruction": "Read the feeds.", "tools": ["feeds__read"], "cost_tokens": 40},
    {
        "id": "t2",
        "title": "Post",
        "instruction": "Post it.",
        "depends_on": ["t1"],
        "tools": ["press__post"],
        "limits": {"press__post": 2},
        "arguments": {"press__post": {"title": "One", "body": None}},
        "criteria": [{"kind": "contains", "value": "a: b"}, {"kind": "text", "value": "It is polite."}],
        "confidence": 0.25,
    },
    {"id": "t3", "title": "Tell", "instruction": "Tell them.", "depends_on": ["t2"]},
]
KNOWN = ["feeds__read", "press__post", "files__write"]


def item(tasks: list[dict[str, Any]] = TASKS) -> ReviewItem:
    """A question about a plan."""
    return ReviewItem(
        id="9b2f1f0e-6f0a-4f8c-9e6e-0c7c53d5d001",
        mission_id="9b2f1f0e-6f0a-4f8c-9e6e-0c7c53d5d002",
        point=ReviewPoint.QUALITY,
        question="Is this plan right?",
        payload={"kind": "plan", "plan": Plan.model_validate({"tasks": tasks, "rationale": "so"}).plain()},
        confidence=0.5,
    )


def form(about: ReviewItem, **changes: str) -> dict[str, str]:
    """The fields as the page draws them, some changed; ``t1__title`` names the field ``t1.title``."""
    plan = shown_plan(about)
    assert plan is not None
    drawn = {f"{task.id}.{name}": value for task in plan.tasks for name, value in as_fields(task).items()}
    return {**drawn, **{name.replace("__", ".", 1): value for name, value in changes.items()}}


def edited(about: ReviewItem, **changes: str) -> Plan:
    """The plan after an edit."""
    return Plan.model_validate(edited_plan(about, form(about, **changes), KNOWN)["plan"])


def test_a_form_that_nobody_changed_is_the_plan_as_it_was() -> None:
    """Proves FR-785."""
    about = item()
    assert edited_plan(about, form(about), KNOWN) == about.payload


def test_fields_change_a_task_and_leave_the_rest() -> None:
    """Proves FR-785."""
    plan = edited(
        item(), t1__title="Read twice", t1__tools="feeds__read 3\nfiles__write", t1__criteria="cited\nBe brief: please",
        t1__arguments='{"feeds__read": {"url": "x"}}',
    )  # fmt: skip
    first = plan.tasks[0]
    assert (first.title, first.tools, first.limits) == (
        "Read twice",
        ["feeds__read", "files__write"],
        {"feeds__read": 3},
    )
    assert [(one.kind, one.value) for one in first.criteria] == [("cited", ""), ("text", "Be brief: please")]
    assert (first.arguments, first.cost_tokens) == ({"feeds__read": {"url": "x"}}, 40)
    assert plan.tasks[1:] == Plan.model_validate({"tasks": TASKS}).tasks[1:]
    assert plan.rationale == "so"


def test_what_waited_for_a_task_that_is_left_out_waits_for_what_that_waited_for() -> None:
    """Proves FR-786."""
    plan = edited(item(), t2__out="1")
    assert [(task.id, task.depends_on) for task in plan.tasks] == [("t1", []), ("t3", ["t1"])]


def test_a_task_is_added() -> None:
    """Proves FR-786."""
    plan = edited(item(), t9__title="Check", t9__instruction="Check it.", t9__after="t1, t3")
    assert (plan.tasks[-1].id, plan.tasks[-1].depends_on) == ("t9", ["t1", "t3"])
    assert [one.kind for one in plan.tasks[-1].criteria] == ["nonempty"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"t1__out": "1", "t2__out": "1", "t3__out": "1"}, "no task left"),
        ({"t1__after": "t3"}, "wait for each other"),
        ({"t1__after": "t77"}, "unknown ones"),
        ({"t1__title": " "}, "title"),
        ({"t1__tools": "bank__pay"}, "no tool bank__pay"),
        ({"t1__tools": "feeds__read often"}, "in figures"),
        ({"t1__tools": "feeds__read 21"}, "less than or equal to 20"),
        ({"t1__arguments": "{"}, "no JSON"),
        ({"t1__arguments": "[" * 100_000}, "no JSON"),
        ({"t1__arguments": "[]"}, "arguments are written"),
    ],
)
def test_what_is_no_plan_is_said(changes: dict[str, str], said: str) -> None:
    """Proves FR-787."""
    with pytest.raises(InputError) as refused:
        edited(item(), **changes)
    assert said in refused.value.message


def test_a_tool_of_the_plan_may_stay_when_it_is_gone() -> None:
    """Proves FR-787: what was planned can still be approved with other words."""
    about = item()
    assert edited_plan(about, form(about, t1__title="Other"), [])["plan"]["tasks"][0]["tools"] == ["feeds__read"]


@given(st.dictionaries(st.sampled_from([f"t{n}.{field}" for n in (1, 2, 3, 4) for field in
       ("title", "instruction", "after", "tools", "criteria", "arguments", "out")]), st.text(max_size=30)))  # fmt: skip
def test_whatever_a_form_says_is_a_plan_or_refused(changes: dict[str, str]) -> None:
    """Proves FR-787."""
    about = item()
    try:
        found = edited_plan(about, {**form(about), **changes}, KNOWN)
    except InputError:
        return
    assert Plan.model_validate(found["plan"]).tasks
