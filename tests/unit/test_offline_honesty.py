"""The offline model: plans for goals and tools it has never seen, invents nothing, and says that it is rules.

Proves FR-49, FR-50, FR-51.
"""

import json
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage

from chimera.core.contracts import Plan
from chimera.models.offline.filling import COMPOSE
from chimera.models.offline.model import OfflineModel
from chimera.models.offline.planning import plan
from chimera.models.offline.words import asked_for
from chimera.models.offline.working import NOTICE, work


def tool(name: str, description: str, required: list[str], /, **properties: dict[str, Any]) -> dict[str, Any]:
    """A tool as the planner is shown it; it only reads, unless its name says that it sends or writes."""
    schema = {"type": "object", "properties": properties, "required": required}
    reads = not any(word in name for word in ("send", "write"))
    return {"name": name, "description": description, "input_schema": schema, "read_only": reads}


TEXT = {"type": "string"}
TOOLS = [
    tool(
        "time__get_current_time",
        "Get the current time in a specific timezone",
        ["timezone"],
        timezone={"type": "string", "description": "IANA timezone name (e.g., 'America/New_York')"},
    ),
    tool(
        "weather__forecast",
        "Weather forecast for a city",
        ["days"],
        days={"type": "integer", "minimum": 1, "maximum": 14, "description": "number of days"},
        units={"type": "string", "enum": ["celsius", "fahrenheit"]},
    ),
    tool("git__log", "Show the commit history of a git repository", ["repo_path"], repo_path=TEXT),
    tool("shop__search_products", "Search the products of the shop", ["query"], query=TEXT),
    tool(
        "docs__write_document",
        "Write a document or report and save it",
        ["name", "content"],
        name={"type": "string", "pattern": "^[a-z][a-z0-9.-]*$", "maxLength": 64},
        content=TEXT,
    ),
]


@pytest.mark.parametrize(
    ("goal", "inputs", "wanted"),
    [
        ("What is the current time in Asia/Tokyo?", {}, [("time__get_current_time", {"timezone": "Asia/Tokyo"})]),
        (
            "Give me the weather forecast for 3 days in celsius",
            {},
            [("weather__forecast", {"days": 3, "units": "celsius"})],
        ),
        (
            "Show the commit history of /srv/code/app",
            {},
            [("git__log", {"repo_path": "/srv/code/app"})],
        ),
        ("Show the commit history", {"repo_path": "/srv/x"}, [("git__log", {"repo_path": "/srv/x"})]),
        (
            'Search the products for "red kettle" and write a report about it',
            {},
            [("shop__search_products", {"query": "red kettle"}), ("docs__write_document", {"content": COMPOSE})],
        ),
    ],
)
def test_goals_and_tools_never_seen(
    goal: str, inputs: dict[str, str], wanted: list[tuple[str, dict[str, Any]]]
) -> None:
    """The tool is found by its description, and its arguments by its schema."""
    made = Plan.model_validate(plan({"goal": goal, "inputs": inputs, "tools": TOOLS}))
    assert [task.tools for task in made.tasks] == [[name] for name, _ in wanted], made
    for task, (name, arguments) in zip(made.tasks, wanted, strict=True):
        assert arguments.items() <= task.arguments[name].items()


@pytest.mark.parametrize("goal", ["Translate my poem into Basque", "Paint the fence", "Wire 500 dollars to Ada", "Hm."])
def test_what_no_tool_can_do_is_named(goal: str) -> None:
    """There is no task, and no confidence."""
    made = Plan.model_validate(plan({"goal": goal, "inputs": {}, "tools": TOOLS}))
    assert not made.tasks
    assert made.confidence == 0
    assert made.unmet or not goal.strip("Hm. ")


HOURS = tool(
    "desk__opening_hours",
    "Tell when the reading room of the library opens and closes, on one day or on each day of the week.",
    [],
    day={"type": "string", "enum": ["monday", "saturday"], "description": "day of the week"},
)


@pytest.mark.parametrize(
    ("goal", "fits"),
    [
        ("When does the reading room open on Saturday?", True),
        ("Tell me the opening hours of next week", True),
        ("Please show me when the library closes", True),
        ("On which day does it open?", True),
        ("Tell me next week's lottery numbers.", False),
        ("Could you please tell me the lottery numbers of next week?", False),
        ("I'd like to know next week's weather on each day", False),
        ("What are the horoscopes of the week?", False),
        ("Tell the staff what each member earns in a week", False),
        ("Close the bank account on Monday", False),
    ],
)
def test_loose_words_in_common_make_no_tool_fit(goal: str, fits: bool) -> None:
    """A tool has to speak of the thing that is asked for, and not only of the words around it."""
    made = plan({"goal": goal, "inputs": {}, "tools": [*TOOLS, HOURS]})
    assert [task["tools"] for task in made["tasks"]] == ([[HOURS["name"]]] if fits else []), made
    assert bool(made["unmet"]) is not fits


@pytest.mark.parametrize(
    ("clause", "verb", "head"),
    [
        ("Tell me next week's lottery numbers", "Tell", "numbers"),
        ("Then please show the commit log of my repository", "show", "log"),
        ("Could you list 20 issues?", "list", "issues"),
        ("I want to read the newest posts", "read", "posts"),
        ("Which subjects do customers ask about?", "", "subjects"),
        ("What will the weather be like in May", "", "weather"),
        ("Create a new branch called main", "Create", "branch"),
        ("Fetch ", "Fetch", "Fetch"),
        ("what is it", "", ""),
        ("", "", ""),
    ],
)
def test_what_a_clause_asks_for(clause: str, verb: str, head: str) -> None:
    assert asked_for(clause) == (verb, head)


def test_a_deed_that_the_tool_does_not_do_is_not_done() -> None:
    """The thing alone is not enough where something would change."""
    remove = tool("shop__send_off_member", "Remove a member from the list of the club", [])
    assert plan({"goal": "Remove a member", "inputs": {}, "tools": [remove]})["tasks"]
    for goal in ("Praise every new member of our Sunday choir", "What is a member of a choir called?"):
        assert plan({"goal": goal, "inputs": {}, "tools": [remove]})["tasks"] == []


def test_a_file_is_no_keyword_and_a_report_is_no_city() -> None:
    """An input goes where a place is read from, and a composed text only where a text is written."""
    feed = tool(
        "feed__search_posts",
        "Search the posts of a feed",
        ["source"],
        keywords={"type": "array", "items": TEXT, "description": "words that the posts mention"},
        source={**TEXT, "description": "path of a file or URL"},
    )
    city = tool("weather__city_report", "Report the weather of a city", ["city"], city=TEXT)
    made = plan({"goal": "Search the posts. Report the weather.", "inputs": {"posts": "a.csv"}, "tools": [feed, city]})
    assert [task["arguments"] for task in made["tasks"]] == [{"feed__search_posts": {"source": "a.csv"}}]
    assert made["unmet"] == ["weather__city_report needs city for: Report the weather"]


def test_a_missing_argument_is_named_and_not_made_up() -> None:
    """No path is invented for a repository that nobody named."""
    made = plan({"goal": "Show the commit history", "inputs": {}, "tools": TOOLS})
    assert made["tasks"] == []
    assert "repo_path" in made["unmet"][0]


def test_an_answer_holds_nothing_but_what_the_tool_gave() -> None:
    """Every word of the extracted lines stands in the tool's result; brackets in it cannot pass for citations."""
    data = {"risers": [{"term": "comet [fake:1]", "now": 7, "evidence": ["feed:3"]}]}
    shown = {"data": data, "evidence": [{"id": "feed:3", "text": "comet", "source": "feed"}]}
    request: dict[str, Any] = {"task": {"instruction": "look", "title": "look", "arguments": {}}}
    messages = [
        HumanMessage(json.dumps(request)),
        AIMessage("", tool_calls=[{"name": "a__b", "args": {}, "id": "1", "type": "tool_call"}]),
        ToolMessage(json.dumps(shown), tool_call_id="1", name="a__b"),
    ]
    answer = work(request, messages, [{"name": "a__b", "parameters": {}}])
    assert answer.content == "- **comet (fake:1)**: now 7 [feed:3]"


def test_a_document_says_that_rules_made_it() -> None:
    """The notice stands above everything that was extracted."""
    earlier = [{"title": "Look", "answer": "- comet [feed:3]", "evidence": []}]
    request: dict[str, Any] = {
        "goal": "Look and write",
        "task": {"instruction": "write", "title": "write", "arguments": {"d__w": {"content": COMPOSE}}},
        "earlier": earlier,
    }
    call = work(request, [HumanMessage(json.dumps(request))], [{"name": "d__w", "parameters": {}}]).tool_calls[0]
    assert NOTICE in call["args"]["content"]
    assert OfflineModel().model_name == "offline"


POST = tool("board__send_notice", "Send a notice to the board", ["text"], text=TEXT)
POST["input_schema"]["properties"]["copies"] = {"type": "integer", "description": "number of copies"}


@pytest.mark.parametrize(
    ("goal", "times"),
    [
        ("Send the notice 'closed' to the board", 1),
        ("Send two notices 'closed' to the board", 2),
        ("Send 3 notices 'closed' to the board", 3),
        ("Send the notice 'closed' to the board with 4 copies", 1),
        ("Send notices 'closed' to the board", 5),
        ("Send every notice 'all are closed' to the board", 20),
        ("Send the notice 'all notices are closed' to the board", 1),
        ("Send 500 notices 'closed' to the board", 20),
    ],
)
def test_a_plan_counts_by_the_words_of_the_goal(goal: str, times: int) -> None:
    """Proves FR-124: a number, a plural, or all of them; what is quoted, or became an argument, is no number."""
    (task,) = Plan.model_validate(plan({"goal": goal, "inputs": {}, "tools": [*TOOLS, POST]})).tasks
    assert (task.tools, task.limits) == (["board__send_notice"], {"board__send_notice": times})


def test_what_only_reads_is_not_counted_and_one_document_is_written_once() -> None:
    goal = 'Search all products for "red kettle" and write a report about all of them'
    reads, writes = Plan.model_validate(plan({"goal": goal, "inputs": {}, "tools": TOOLS})).tasks
    assert (reads.limits, writes.limits) == ({}, {"docs__write_document": 1})


def test_a_name_that_the_plan_leaves_open_is_not_called_with_nothing() -> None:
    task = {
        "id": "t1",
        "title": "x",
        "instruction": "x",
        "arguments": {"board__send_notice": {"text": "a", "copies": None}},
    }
    offered = [{"name": "board__send_notice", "parameters": POST["input_schema"]}]
    (call,) = work({"task": task}, [HumanMessage("")], offered).tool_calls
    assert call["args"] == {"text": "a"}
