"""Questions and answers in the formats of other inboxes, checked against the types that langchain has installed.

Proves FR-771 and FR-772, as each test says.
"""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain.agents.middleware.human_in_the_loop import HITLRequest, HITLResponse
from langgraph.prebuilt import interrupt as prebuilt
from pydantic import TypeAdapter

from chimera.core.contracts import ReviewDecision, ReviewItem, ReviewPoint
from chimera.core.errors import ChimeraError, InputError, StaleDecision
from chimera.review.answers import why_unusable
from chimera.review.inbox import hitl_request, human_interrupt
from chimera.review.inbox.actions import action_of, can_edit

THEIR_INTERRUPTS = TypeAdapter(list[prebuilt.HumanInterrupt])  # pyright: ignore[reportDeprecated] - no other place has it
THEIR_RESPONSES = TypeAdapter(list[prebuilt.HumanResponse])
THEIR_REQUEST = TypeAdapter(HITLRequest)
THEIR_DECISIONS = TypeAdapter(HITLResponse)

texts = st.text(max_size=20)
leaves = st.none() | st.booleans() | st.integers(-9, 9) | texts | st.sampled_from(['"5"', "5", "[1]", "null", "{"])
values = st.recursive(leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3))
objects = st.dictionaries(st.sampled_from("abc") | texts, values, max_size=4)
calls = st.fixed_dictionaries({"capability": st.just("pub__post"), "arguments": objects})
kinds = st.sampled_from(["result", "plan", "payment", "policy", "give_up", "of my own", ""])


def _with(key: str, value: Any, shown: dict[str, Any]) -> dict[str, Any]:
    return {**shown, key: value}


others = st.builds(_with, st.just("kind"), kinds, objects)
hostile = objects | st.builds(_with, st.just("capability"), values, objects)
payloads: st.SearchStrategy[dict[str, Any]] = calls | others | hostile
whole = st.builds(
    ReviewItem,
    id=st.uuids().map(str),
    mission_id=st.uuids().map(str),
    point=st.sampled_from(list(ReviewPoint)),
    question=texts,
    payload=payloads,
    confidence=st.floats(0, 1),
    reasons=st.lists(texts, max_size=2),
)


@st.composite
def answered(draw: st.DrawFn) -> tuple[ReviewItem, ReviewDecision]:
    """A question with an answer that it can take, of those that both formats can say."""
    item = draw(whole)
    action = draw(st.sampled_from(["approve", "reject", "edit"]))
    said: dict[str, Any] = {"action": action, "reviewer": "ada"}
    if action == "reject":
        said["reason"] = draw(st.text(min_size=1, max_size=30).filter(lambda text: bool(text.strip())))
    if action == "edit":
        args = draw(objects)
        call = item.payload.get("capability") == "pub__post"
        said["payload"] = {"capability": "pub__post", "arguments": args} if call else args
    decision = ReviewDecision.model_validate(said)
    usable = action != "edit" or (can_edit(item) and why_unusable(item, decision) is None)
    return (item, decision) if usable else (item, ReviewDecision(action="approve", reviewer="ada"))


@given(st.lists(whole, max_size=3))
def test_any_question_is_shown_whole_and_as_their_types_have_it(items: list[ReviewItem]) -> None:
    """Proves FR-771: whatever a question holds; its action and arguments are those of the question."""
    old, new = human_interrupt.human_interrupts(items), hitl_request.hitl_request(items)
    assert THEIR_INTERRUPTS.validate_python(old) == old
    assert THEIR_REQUEST.validate_python(new) == new
    for item, interrupt, request in zip(items, old, new["action_requests"], strict=True):
        shown = action_of(item)
        assert interrupt["action_request"] == {"action": shown.name, "args": shown.args}
        assert (request["name"], request["args"]) == (shown.name, shown.args)
        assert shown.args in (item.payload, item.payload.get("arguments"))


@given(st.lists(answered(), min_size=1, max_size=3))
def test_answers_come_back_as_they_were_given(pairs: list[tuple[ReviewItem, ReviewDecision]]) -> None:
    """Proves FR-771: through either format and back, for several questions at once, one answer each."""
    items, decisions = [item for item, _ in pairs], [decision for _, decision in pairs]
    old = [human_interrupt.response_of(item, decision) for item, decision in pairs]
    THEIR_RESPONSES.validate_python(old)
    assert human_interrupt.answers(items, old, "ada") == decisions
    new = hitl_request.response_of(items, decisions)
    THEIR_DECISIONS.validate_python(new)
    assert hitl_request.answers(items, new, "ada") == decisions


@given(whole)
def test_what_is_ignored_has_no_answer(item: ReviewItem) -> None:
    """Proves FR-772: it is never an approval."""
    assert human_interrupt.answers([item], [{"type": "ignore", "args": None}], "ada") == [None]
    assert human_interrupt.response_of(item, None) == {"type": "ignore", "args": None}


@given(whole, values | st.lists(objects, max_size=2))
def test_nothing_else_is_an_answer(item: ReviewItem, said: Any) -> None:
    """Proves FR-772: whatever is sent, it is refused with an error of ours."""
    for answers in (human_interrupt.answers, hitl_request.answers):
        with pytest.raises(InputError):
            answers([item], said, "ada")


CALL = ReviewItem(
    id="7b0c1c52-6d0f-4a2e-9f6b-0a3c39cf2f0e",
    mission_id=None,
    point=ReviewPoint.SECURITY,
    question="Post ![x](https://example.com/pixel.png) <img src=x>?",
    payload={
        "capability": "pub__post",
        "arguments": {"text": "hello", "times": 2},
        "schema": {"type": "object", "properties": {"text": {"type": "string"}, "times": {"type": "integer"}}},
    },
    confidence=0.4,
)


def test_an_edit_has_to_fit_the_tool() -> None:
    """Proves FR-772: by its schema; it names no other tool, and numbers come back from a field for text."""
    said = {"type": "edit", "args": {"action": "pub__post", "args": {"text": "hi", "times": "3"}}}
    (decision,) = human_interrupt.answers([CALL], said, "ada")
    assert decision is not None
    assert decision.payload == {"capability": "pub__post", "arguments": {"text": "hi", "times": 3}}
    for action, args in (("pub__post", {"text": 1}), ("pub__post", {"times": "many"}), ("pub__drop", {"text": "hi"})):
        with pytest.raises(InputError):
            human_interrupt.answers([CALL], {"type": "edit", "args": {"action": action, "args": args}}, "ada")
        edit = {"type": "edit", "edited_action": {"name": action, "args": args}}
        with pytest.raises(InputError):
            hitl_request.answers([CALL], {"decisions": [edit]}, "ada")
    config = hitl_request.hitl_request([CALL])["review_configs"][0]
    assert config["args_schema"] == CALL.payload["schema"]
    assert config["allowed_decisions"] == ["approve", "edit", "reject"]


def test_an_acceptance_of_something_else_is_stale() -> None:
    """Proves FR-772: agent-inbox repeats what it showed; that has to be what is asked."""
    shown = {"action": "pub__post", "args": {"text": "hello", "times": "2"}}
    (decision,) = human_interrupt.answers([CALL], [{"type": "accept", "args": shown}], "ada")
    assert decision is not None
    assert decision.action == "approve"
    for other in ({**shown, "args": {"text": "hello"}}, {**shown, "action": "pub__drop"}):
        with pytest.raises(StaleDecision):
            human_interrupt.answers([CALL], [{"type": "accept", "args": other}], "ada")


@pytest.mark.parametrize("said", [[], [{"type": "accept"}, {"type": "accept"}]], ids=["none", "two"])
def test_each_question_takes_one_answer(said: list[Any]) -> None:
    """Proves FR-772: no more and no fewer."""
    with pytest.raises(ChimeraError):
        human_interrupt.answers([CALL], said, "ada")
    with pytest.raises(ChimeraError):
        hitl_request.answers([CALL], {"decisions": [{"type": "approve"} for _ in said]}, "ada")


def test_nobody_answers_in_the_place_of_a_tool() -> None:
    """Proves FR-772: langchain's ``respond`` is neither offered nor taken."""
    with pytest.raises(InputError):
        hitl_request.answers([CALL], {"decisions": [{"type": "respond", "message": "it said yes"}]}, "ada")


def test_a_question_shows_no_picture_and_no_link() -> None:
    """Proves FR-771: inboxes show descriptions as Markdown, and whoever wrote it may be hostile."""
    shown = human_interrupt.human_interrupts([CALL])[0]["description"]
    assert "\\!\\[x\\](https://example.com/pixel.png) \\<img src=x\\>" in shown
