"""Whatever the goal and the tools: a plan by rules names nothing that is not there, and invents no value.

Proves FR-50. Goals and schemas are made at random, out of words that tools and users use, and of noise.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from chimera.core.contracts import Plan
from chimera.core.fit import misfit
from chimera.core.forms import properties
from chimera.models.offline.filling import COMPOSE, fill
from chimera.models.offline.planning import plan
from chimera.models.offline.working import work

VOCABULARY = (
    "show list find read write send search fetch delete file folder path url name title query text content number day "
    "days city user repository branch table report summary with from to for about in and of the a last first called "
    "Lisbon Ada PT EUR 5 14:30 2026-11-01 posts.csv /srv/app https://example.com/a owner/name *.py 3.5 -2 AB12"
)
NOISE = st.text(max_size=20)
WORD = st.one_of(
    st.sampled_from(VOCABULARY.split()), st.sampled_from(['"quoted text"', "'x y'", '"/etc/passwd"']), NOISE
)
PHRASE = st.lists(WORD, min_size=1, max_size=12).map(" ".join)
NAMES = st.sampled_from(
    [
        "path",
        "url",
        "source",
        "target",
        "query",
        "name",
        "title",
        "content",
        "city",
        "user_id",
        "repoPath",
        "limit",
        "to",
    ]
)

TEXTS = st.fixed_dictionaries(
    {"type": st.just("string")},
    optional={
        "description": PHRASE,
        "format": st.sampled_from(["uri", "date", "date-time", "email"]),
        "pattern": st.sampled_from(["^[A-Z]{2}$", "^[a-z][a-z0-9.-]*$", "^t[0-9]+$", "("]),
        "minLength": st.integers(0, 5),
        "maxLength": st.integers(5, 300),
        "enum": st.lists(st.sampled_from(["open", "closed", "Lisbon", "5"]), min_size=1, max_size=3),
        "default": st.sampled_from(["x", "en", 5]),
    },
)
NUMBERS = st.fixed_dictionaries(
    {"type": st.sampled_from(["integer", "number"])},
    optional={
        "description": PHRASE,
        "minimum": st.integers(0, 5),
        "maximum": st.integers(5, 20),
        "default": st.integers(0, 9),
    },
)
OTHERS = st.sampled_from(
    [
        {"type": "boolean"},
        {"type": "array", "items": {"type": "string"}, "description": "paths of files"},
        {"type": "array", "items": {"type": "string", "maxLength": 3}, "maxItems": 1},
        {"type": "object", "properties": {"a": {"type": "string"}}},
        {"anyOf": [{"type": "string", "maxLength": 9}, {"type": "null"}], "default": None},
        {"$ref": "#/$defs/Place"},
        {"$ref": "#/$defs/nowhere"},
        {"type": ["null", "integer"]},
        {},
    ]
)


@st.composite
def schemas(draw: st.DrawFn) -> dict[str, Any]:
    forms = draw(st.dictionaries(NAMES, st.one_of(TEXTS, NUMBERS, OTHERS), max_size=4))
    required = draw(st.lists(st.sampled_from([*forms, "gone"]), unique=True, max_size=4))
    made = {"type": "object", "properties": forms, "$defs": {"Place": {"type": "string", "format": "uri"}}}
    return {**made, "required": required, "additionalProperties": False}


@st.composite
def toolboxes(draw: st.DrawFn) -> list[dict[str, Any]]:
    return [
        {
            "name": f"s__tool-{place}",
            "description": draw(PHRASE),
            "input_schema": draw(schemas()),
            "read_only": draw(st.booleans()),
        }
        for place in range(draw(st.integers(0, 4)))
    ]


INPUTS = st.dictionaries(st.sampled_from(["feed", "path", "city", "limit", "x y"]), st.one_of(WORD, NOISE), max_size=3)


def values(part: Any) -> Iterator[Any]:
    if isinstance(part, Mapping):
        for item in part.values():
            yield from values(item)
    elif isinstance(part, list):
        for item in part:
            yield from values(item)
    else:
        yield part


def stands_in(value: Any, goal: str, inputs: Mapping[str, str], form: Mapping[str, Any]) -> bool:
    """Whether somebody said this value: the goal, an input, or the schema itself."""
    if value == form.get("default") or value in (form.get("enum") or []):
        return True
    # Pieces that a joint had divided are put together with an "and".
    said = " ".join(
        [re.sub(r",?\s(?:and then|then|and)\s", " and ", goal, flags=re.IGNORECASE), goal, *inputs.values()]
    )
    if isinstance(value, str):
        return value in said
    known = re.findall(r"-?\d+(?:\.\d+)?", said)
    return isinstance(value, bool) or any(float(number) == value for number in known)


@given(PHRASE, toolboxes(), INPUTS)
def test_a_plan_names_and_invents_nothing(goal: str, tools: list[dict[str, Any]], inputs: dict[str, str]) -> None:
    made = plan({"goal": goal, "tools": tools, "inputs": inputs})
    checked = Plan.model_validate(made)
    by_name = {found["name"]: found for found in tools}
    for task in checked.tasks:
        assert len(task.tools) == 1
        assert set(task.arguments) == set(task.tools) <= by_name.keys()
        schema = by_name[task.tools[0]]["input_schema"]
        arguments = task.arguments[task.tools[0]]
        assert misfit(schema, arguments) is None, "the arguments fit the schema as they are"
        composes = COMPOSE in arguments.values()
        for name, value in arguments.items():
            form = properties(schema)[name]
            named_here = composes and isinstance(value, str) and value.endswith(".md")
            assert value == COMPOSE or named_here or all(stands_in(part, goal, inputs, form) for part in values(value))
            if named_here:
                assert "/" not in value, "the name of a document that is made here is no path"
    assert checked.unmet or checked.tasks, "a goal that no tool covers is said to be one"


@given(PHRASE, toolboxes(), INPUTS, st.integers(0, 40))
def test_a_worker_calls_what_is_planned_and_offered(
    goal: str, tools: list[dict[str, Any]], inputs: dict[str, str], length: int
) -> None:
    """Each call is to the offered tool, fits its schema, and names no place that nobody named."""
    by_name = {found["name"]: found["input_schema"] for found in tools}
    earlier = [{"title": "before", "answer": "- a thing that rises [a]\n" * (length + 1), "evidence": []}]
    for task in plan({"goal": goal, "tools": tools, "inputs": inputs})["tasks"]:
        name = task["tools"][0]
        request: dict[str, Any] = {"goal": goal, "task": task, "inputs": inputs, "earlier": earlier}
        calls = work(request, [], [{"name": name, "parameters": by_name[name]}]).tool_calls
        assert [call["name"] for call in calls] == [name]
        assert misfit(by_name[name], calls[0]["args"]) is None
        known = {part for key in calls[0]["args"] for part in values(properties(by_name[name])[key].get("enum") or [])}
        for value in values(calls[0]["args"]):
            if isinstance(value, str) and value.startswith(("/", "http", "~", ".")) and value not in known:
                assert any(value in said for said in (goal, *inputs.values()))


@given(st.integers(257, 2_000), st.integers(0, 60))
def test_a_composed_text_is_no_longer_than_its_argument_allows(most: int, lines: int) -> None:
    """It is cut between lines, so that no claim loses its citation."""
    schema = {"type": "object", "properties": {"content": {"type": "string", "maxLength": most}}}
    claim = "- a thing that rises [a]"
    task = {"instruction": "write", "title": "write", "arguments": {"s__w": {"content": COMPOSE}}}
    earlier = [{"title": "before", "answer": "\n".join([claim] * (lines + 1)), "evidence": []}]
    call = work({"goal": "write", "task": task, "earlier": earlier}, [], [{"name": "s__w", "parameters": schema}])
    content = call.tool_calls[0]["args"]["content"]
    assert misfit(schema, {"content": content}) is None
    assert {line for line in content.splitlines() if line.startswith("-")} <= {claim}
    assert len(content) > most - 200 or "## Sources" in content


@given(PHRASE, schemas(), INPUTS)
def test_a_worker_without_planned_arguments_invents_none(
    clause: str, schema: dict[str, Any], inputs: dict[str, str]
) -> None:
    """What it cannot fill it leaves out; what it fills stands in the task, the inputs or the schema."""
    request: dict[str, Any] = {"task": {"instruction": clause, "title": clause}, "inputs": inputs}
    call = work(request, [], [{"name": "s__tool", "parameters": schema}]).tool_calls[0]
    assert set(call["args"]) <= set(schema["properties"])
    for name, value in call["args"].items():
        form = properties(schema)[name]
        assert misfit({**form, "$defs": schema["$defs"]}, value) is None
        assert all(stands_in(part, clause, inputs, form) for part in values(value))


@given(schemas(), PHRASE, INPUTS, st.booleans())
def test_arguments_that_are_not_missing_fit(
    schema: dict[str, Any], clause: str, inputs: dict[str, str], may_compose: bool
) -> None:
    filled = fill(schema, clause, inputs, may_compose=may_compose)
    assert set(filled.arguments) <= set(schema["properties"])
    if not filled.missing:
        assert misfit(schema, filled.arguments) is None
    assert may_compose or COMPOSE not in filled.arguments.values()
