"""What a plan gives leave for: a tool with an effect so many times, with arguments that there is a reason for.

Proves FR-124, FR-125 and FR-126 at the guard: the plan holds from the first call on, whether anything was read or not;
trying again is no leave for more, and the very same call is the same effect.
"""

from collections.abc import Mapping
from typing import Any

import pytest

from chimera.core.contracts import LIMIT_MAX, Mission, Task
from chimera.guards.provenance.guard import FlowGuard
from chimera.guards.provenance.manifest import read_manifests
from chimera.guards.request import Edge, GuardRequest, Made, Seen, sealed
from chimera.tools.capability import Capability

FORM = {
    "type": "object",
    "properties": {
        "to": {"type": "string"},
        "text": {"type": "string"},
        "copy": {"type": "string"},
        "urgent": {"type": "boolean"},
        "repeat": {"type": "integer", "default": 1},
    },
    "required": ["to"],
}
SEND = Capability(name="desk__send", server="desk", tool="send", input_schema=FORM, destructive=False)
READ = Capability(name="web__read", server="web", tool="read", input_schema={}, read_only=True)
FETCH = Capability(name="web__fetch", server="web", tool="fetch", input_schema=FORM, read_only=True)
SAVE = Capability(name="box__save", server="box", tool="save", input_schema=FORM, destructive=False)
MANIFESTS = read_manifests("""
[tools.desk__send]
role = "effect"
severity = "disclosure"
arguments = { to = "address", text = "text", copy = "address", urgent = "free", repeat = "free" }

[tools.box__save]
role = "effect"
severity = "private"
arguments = { to = "free", text = "text" }

[tools.web__fetch]
role = "outbound_read"
arguments = { to = "url_read", copy = "url_read" }
""")
ANN, BOB = "ann@firm.example", "bob@firm.example"
GOAL = f"Send it to {ANN} and to {BOB}"
PAGE = Seen("A page about nothing", READ)


def asked(
    payload: Mapping[str, Any],
    *seen: Seen,
    tool: Capability = SEND,
    goal: str = GOAL,
    now: tuple[Mapping[str, Any], ...] = (),
    before: tuple[Mapping[str, Any], ...] = (),
    plan_round: int = 1,
    **task: Any,
) -> GuardRequest:
    planned = {"id": "t1", "title": "send", "instruction": "send it", "tools": [tool.name], **task}
    return GuardRequest(
        edge=Edge.TOOL_CALL,
        payload=payload,
        mission=Mission(goal=goal),
        task=Task.model_validate(planned),
        capability=tool,
        seen=seen,
        made=Made(now, frozenset(sealed(tool.name, one) for one in before)),
        notes={"plan_round": plan_round},
    )


async def decide(request: GuardRequest, *, declared: bool = True) -> tuple[str, list[str]]:
    """The action, and the rules of the plan and of the flow that led to it."""
    said = await FlowGuard(MANIFESTS if declared else {}).check(request)
    return ("allow", []) if said is None else (said.action, said.rules[1:])


def to(address: str, **more: Any) -> dict[str, Any]:
    return {"to": address, **more}


# --- how often -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("declared", [True, False])
@pytest.mark.parametrize("seen", [(), (PAGE,)], ids=["nothing read", "a page read"])
async def test_a_tool_that_the_plan_does_not_count_is_called_once(seen: tuple[Seen, ...], declared: bool) -> None:
    assert await decide(asked(to(ANN), *seen), declared=declared) == ("allow", [])
    again = asked(to(BOB), *seen, now=(to(ANN),))
    assert await decide(again, declared=declared) == ("reject", ["plan.count"])


@pytest.mark.parametrize("limit", [2, LIMIT_MAX])
async def test_the_number_of_the_plan_holds_from_the_first_call_on(limit: int) -> None:
    made = tuple(to(ANN, text=f"part {number}") for number in range(limit))
    plan: dict[str, Any] = {"limits": {"desk__send": limit}}
    assert await decide(asked(to(ANN), now=made[1:], **plan)) == ("allow", [])
    assert await decide(asked(to(ANN), now=made, **plan)) == ("reject", ["plan.count"])


@pytest.mark.parametrize("seen", [(), (PAGE,)], ids=["nothing read", "a page read"])
async def test_the_very_same_call_is_not_made_twice_in_an_attempt(seen: tuple[Seen, ...]) -> None:
    request = asked(to(ANN, text="one"), *seen, now=({"text": "one", "to": ANN},), limits={"desk__send": 5})
    assert await decide(request) == ("reject", ["plan.repeated"])


async def test_a_tool_that_is_not_the_tasks_has_no_leave() -> None:
    assert await decide(asked(to(ANN), tools=["other__tool"])) == ("escalate", ["plan.tool"])


@pytest.mark.parametrize("tool", [READ, FETCH], ids=["read", "outbound read"])
async def test_reads_are_not_counted_and_need_no_leave_for_their_arguments(tool: Capability) -> None:
    now = tuple(to(f"https://site.example/{number}") for number in range(30))
    asks = asked(to("https://site.example/x", copy="https://site.example/y"), tool=tool, now=now, tools=["other__tool"])
    assert await decide(asks) == ("allow", [])


async def test_a_read_that_reaches_outside_is_asked_about_its_places_and_not_about_their_names() -> None:
    assert await decide(asked(to(ANN, copy="elsewhere.example"), PAGE, tool=FETCH)) == ("escalate", ["flow.url"])


# --- attempts and plans ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seen", [(), (PAGE,)], ids=["nothing read", "a page read"])
async def test_trying_again_is_no_leave_for_more(seen: tuple[Seen, ...]) -> None:
    """What an earlier attempt did counts; the same call is the same effect, and may be asked for again."""
    assert await decide(asked(to(BOB), *seen, before=(to(ANN),))) == ("reject", ["plan.count"])
    assert await decide(asked(to(ANN), *seen, before=(to(ANN),))) == ("allow", [])
    assert await decide(asked(to(BOB), *seen, before=(to(ANN),), limits={"desk__send": 2})) == ("allow", [])


async def test_what_is_known_twice_counts_once() -> None:
    """The journal has the calls of this attempt as well."""
    both = (to(ANN),)
    assert await decide(asked(to(BOB), now=both, before=both, limits={"desk__send": 2})) == ("allow", [])
    assert await decide(asked(to(ANN), now=both, before=both, limits={"desk__send": 2})) == (
        "reject",
        ["plan.repeated"],
    )


async def test_what_concerns_the_user_alone_may_be_mended_in_each_attempt() -> None:
    """A file that the judge sent back is written again; within an attempt the number of the plan holds."""
    assert await decide(asked(to("a.md", text="two"), tool=SAVE, before=(to("a.md", text="one"),))) == ("allow", [])
    now = asked(to("a.md", text="two"), tool=SAVE, now=(to("a.md", text="one"),))
    assert await decide(now) == ("reject", ["plan.count"])


async def test_effects_for_an_earlier_plan_leave_more_of_them_to_a_human() -> None:
    """A new plan's number may be meant on top of what was done, or instead of it: that is a question."""
    assert await decide(asked(to(ANN), plan_round=2)) == ("allow", [])
    assert await decide(asked(to(BOB), before=(to(ANN),), plan_round=2)) == ("escalate", ["plan.count"])
    assert await decide(asked(to(ANN), before=(to(ANN),), plan_round=2)) == ("allow", [])
    assert await decide(asked(to(BOB), now=(to(ANN),), plan_round=2)) == ("reject", ["plan.count"])


# --- with which arguments --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seen", [(), (PAGE,)], ids=["nothing read", "a page read"])
@pytest.mark.parametrize(
    ("fields", "allowed"),
    [
        ({}, False),
        ({"arguments": {"desk__send": {"urgent": True}}}, True),
        ({"arguments": {"desk__send": {"urgent": None}}}, True),
        ({"arguments": {"desk__other": {"urgent": True}}}, False),
        ({"goal": f"{GOAL}, it is urgent"}, True),
        ({"instruction": "send it as urgent"}, True),
    ],
    ids=["no reason", "planned", "planned without a value", "of another tool", "asked for", "in the instruction"],
)
async def test_an_argument_of_an_undeclared_tool_needs_a_reason(
    fields: dict[str, Any], allowed: bool, seen: tuple[Seen, ...]
) -> None:
    decided = await decide(asked(to(ANN, urgent=True), *seen, **fields), declared=False)
    assert decided == (("allow", []) if allowed else ("escalate", ["plan.argument"]))


async def test_a_value_that_the_user_names_or_the_tool_would_take_anyway_is_a_reason() -> None:
    assert await decide(asked(to(ANN, copy=BOB)), declared=False) == ("allow", [])
    assert await decide(asked(to(ANN, repeat=1)), declared=False) == ("allow", [])
    for odd in (2, True):  # Python takes True for 1
        assert await decide(asked(to(ANN, repeat=odd)), declared=False) == ("escalate", ["plan.argument"])


async def test_of_a_declared_tool_texts_and_free_values_need_no_reason_and_parties_do() -> None:
    text = to(ANN, text="A few words of greeting", urgent=True)
    assert await decide(asked(text)) == ("allow", [])
    assert await decide(asked(to(ANN, copy="eve@evil.example"))) == ("escalate", ["plan.argument"])


async def test_a_later_plan_gives_no_reason_for_an_argument() -> None:
    """Its names may come from what failed, like its words."""
    planned: dict[str, Any] = {"arguments": {"desk__send": {"urgent": True}}, "instruction": "send it as urgent"}
    later = asked(to(ANN, urgent=True), plan_round=2, **planned)
    assert await decide(later, declared=False) == ("escalate", ["plan.argument"])


async def test_a_call_with_too_many_values_to_look_at_is_a_question() -> None:
    many = to(ANN, copy=[f"{number}@firm.example" for number in range(1_001)])
    assert await decide(asked(many)) == ("escalate", ["flow.size"])
