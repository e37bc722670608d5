"""The rules against the tool lists that real servers publish: planned with tools that nobody wrote for them.

Proves FR-49. The lists are recorded answers to ``tools/list``; without them the test is skipped.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from chimera.models.offline.planning import plan
from chimera.tools.capability import Capability
from chimera.tools.discovery.documents import document_of
from chimera.tools.discovery.index import ToolIndex
from chimera.tools.toolbox import SHOWN_MOST, SUGGESTED

# What a user asks; the tool and arguments that are right. No tool: it cannot be done with these, or not with what was
# said (a page or a connection that only the user knows), and the plan has to say so.
CASES: list[tuple[str, str, str, dict[str, Any]]] = [
    ("server-filesystem", "Show the directory tree of /srv/project", "directory_tree", {"path": "/srv/project"}),
    (
        "server-filesystem",
        "Move /tmp/a.txt to /tmp/b.txt",
        "move_file",
        {"source": "/tmp/a.txt", "destination": "/tmp/b.txt"},
    ),
    ("server-filesystem", "Which directories am I allowed to use?", "list_allowed_directories", {}),
    ("server-filesystem", "Create the directory /tmp/new", "create_directory", {"path": "/tmp/new"}),
    ("server-memory", 'Open the nodes "Ada" and "Charles"', "open_nodes", {"names": ["Ada", "Charles"]}),
    ("server-memory", 'Delete the entity "Ada"', "delete_entities", {"entityNames": ["Ada"]}),
    ("tavily-mcp", "Crawl the website https://example.com", "tavily_crawl", {"url": "https://example.com"}),
    (
        "tavily-mcp",
        "Extract the content of https://example.com/a and https://example.com/b",
        "tavily_extract",
        {"urls": ["https://example.com/a", "https://example.com/b"]},
    ),
    ("tavily-mcp", "Search the web for news about batteries", "tavily_search", {}),
    (
        "context7-mcp",
        "Query the documentation of the library /vercel/next.js about routing",
        "query-docs",
        {"libraryId": "/vercel/next.js"},
    ),
    ("server-everything", 'Echo the message "hi"', "echo", {"message": "hi"}),
    ("server-everything", "Get the sum of 12 and 30", "get-sum", {"a": 12, "b": 30}),
    ("server-everything", "Show the environment variables", "get-env", {}),
    ("mongodb-mcp-server", "Count the documents in the collection orders of the database shop", "", {}),
    ("mongodb-mcp-server", "List the databases", "", {}),
    ("mongodb-mcp-server", "List the collections of the database shop", "", {}),
    ("mongodb-mcp-server", "Drop the database shop", "", {}),
    ("notion-mcp-server", 'Search for pages with the title "Roadmap"', "API-post-search", {"query": "Roadmap"}),
    ("playwright-mcp", "Navigate to https://example.com", "browser_navigate", {"url": "https://example.com"}),
    ("playwright-mcp", "Take a screenshot of the current page", "browser_take_screenshot", {}),
    ("chrome-devtools-mcp", "List the console messages of the page", "", {}),
    ("elevenlabs-mcp", 'Convert the text "Good morning" to speech', "text_to_speech", {"text": "Good morning"}),
    (
        "fal-mcp-server+mcp1",
        "Remove the background of https://example.com/cat.png",
        "remove_background",
        {"image_url": "https://example.com/cat.png"},
    ),
    ("replicate-mcp", "Search the models for image upscaling", "search_models", {}),
    ("instagram-creator-mcp+mcp1", "Show the recent posts of my account", "get_recent_posts", {}),
    ("apitwitter-mcp+mcp1", "Get the followers of the user ada", "get_user_followers", {}),
    ("tiktok-mcp", "List my TikTok accounts", "list_accounts", {}),
    (
        "mcp-server-time",
        "What is the current time in America/Sao_Paulo?",
        "get_current_time",
        {"timezone": "America/Sao_Paulo"},
    ),
    ("mcp-server-git", "Show the commit logs of the repository /srv/app", "git_log", {"repo_path": "/srv/app"}),
    ("mcp-server-git", "Check out the branch main in /srv/app", "", {}),
    ("mcp-server-sqlite+mcp1", "Describe the table users", "describe_table", {"table_name": "users"}),
    ("mcp-server-sqlite+mcp1", 'Run the read query "SELECT 1"', "read_query", {"query": "SELECT 1"}),
    ("runway-mcp", "List the jobs", "list_jobs", {}),
    ("coinbase-cds-mcp", "List the CDS routes", "", {}),
    ("mcp-server-fetch", "Fetch https://example.com/a", "fetch", {"url": "https://example.com/a"}),
    ("mcp-server-fetch", "Bake a cake", "", {}),
    ("notion-mcp-server", "Send an email to Bob", "", {}),
    ("server-filesystem", "Tell me a joke", "", {}),
    ("tavily-mcp", "Pay the invoice of 300 dollars", "", {}),
    ("mcp-server-git", "Push the branch main to the remote", "", {}),
    ("mcp-server-sqlite+mcp1", "Tell me next week's lottery numbers", "", {}),
    ("runway-mcp", "What is the meaning of life?", "", {}),
    ("server-everything", "Cancel my subscription", "", {}),
    ("fal-mcp-server+mcp1", "Turn off the lights in the kitchen", "", {}),
]

# The same with inputs beside the goal: (server, goal, inputs, tool, arguments).
WITH_INPUTS: list[tuple[str, str, dict[str, str], str, dict[str, Any]]] = [
    ("mcp-server-git", "Show the commit logs", {"repo": "/srv/app"}, "git_log", {"repo_path": "/srv/app"}),
    ("server-filesystem", "Show the directory tree", {"path": "/srv/x"}, "directory_tree", {"path": "/srv/x"}),
    ("mcp-server-time", "What is the current time?", {"timezone": "Asia/Tokyo"}, "get_current_time", {}),
    (
        "mcp-server-fetch",
        "Fetch the page",
        {"page": "https://example.com/a"},
        "fetch",
        {"url": "https://example.com/a"},
    ),
    ("server-filesystem", "Write a file", {"path": "/home/me/thesis.txt"}, "", {}),
    ("mcp-server-git", "Show the commit logs", {"city": "Lisbon"}, "", {}),
]

# Nobody's tools do these; a few words in common must not make one of them look fit.
NOBODYS = [
    "Tell me next week's lottery numbers",
    "Book a table for four at eight tonight",
    "Who will win the election next year?",
    "Order 3 pizzas to my home",
    "Call my mother on Sunday",
    "Sell all my shares",
    "Set an alarm for 7 tomorrow",
    "How many people live in Peru?",
    "Close the office on Monday",
    "Move my meeting to Friday",
]


def tools_of(server: str, data: Path) -> list[Capability]:
    recorded: dict[str, list[dict[str, Any]] | None] = json.loads(
        (data / "catalogue" / "live_tools" / f"{server}.json").read_text("utf-8")
    )
    found: list[Capability] = []
    for tool in recorded.get("tools") or []:
        hints: dict[str, Any] = tool.get("annotations") or {}
        found.append(
            Capability(
                name=f"s__{tool['name']}",
                server="s",
                tool=tool["name"],
                description=tool.get("description") or "",
                input_schema=tool["inputSchema"],
                read_only=bool(hints.get("readOnlyHint")),
            )
        )
    return found


def suggested(tools: list[Capability], goal: str) -> list[Capability]:
    """What a planner is shown of these tools: all of a few, and of many what the search finds."""
    if len(tools) <= SHOWN_MOST:
        return tools
    index = ToolIndex()
    index.put("s", [document_of(tool) for tool in tools])
    by_name = {tool.name: tool for tool in tools}
    return [by_name[hit.name] for hit in index.search(goal, SUGGESTED)]


def planned(goal: str, tools: list[Capability], inputs: dict[str, str] | None = None) -> dict[str, Any]:
    """The plan with the tools that a planner would be shown."""
    listed = [
        {
            "name": tool.name,
            "description": tool.description,
            "input_schema": tool.input_schema,
            "read_only": tool.read_only,
        }
        for tool in suggested(tools, goal)
    ]
    return plan({"goal": goal, "tools": listed, "inputs": inputs or {}})


def told(made: dict[str, Any], name: str, arguments: dict[str, Any]) -> None:
    """The plan calls this tool with these arguments among others; without a name, it calls nothing and says so."""
    calls = [(tool, given) for task in made["tasks"] for tool, given in task["arguments"].items()]
    assert [tool for tool, _ in calls] == ([f"s__{name}"] if name else []), made
    assert bool(made["unmet"]) is not bool(name), made
    for _, given in calls:
        assert {key: given.get(key) for key in arguments} == arguments


@pytest.mark.parametrize(("server", "goal", "name", "arguments"), CASES, ids=lambda part: str(part)[:50])
def test_a_tool_of_a_strangers_server_is_found_and_filled(
    server: str, goal: str, name: str, arguments: dict[str, Any], data: Path
) -> None:
    told(planned(goal, tools_of(server, data)), name, arguments)


@pytest.mark.parametrize(("server", "goal", "inputs", "name", "arguments"), WITH_INPUTS)
def test_inputs_are_used_where_they_fit(
    server: str, goal: str, inputs: dict[str, str], name: str, arguments: dict[str, Any], data: Path
) -> None:
    told(planned(goal, tools_of(server, data), inputs), name, arguments)


def test_what_no_server_can_do_is_done_by_none(data: Path) -> None:
    servers = sorted(path.stem for path in (data / "catalogue" / "live_tools").glob("*.json"))
    done = [
        (server, goal, made["tasks"][0]["tools"])
        for server in servers
        if (tools := tools_of(server, data))
        for goal in NOBODYS
        if (made := planned(goal, tools))["tasks"]
    ]
    assert done == []


def test_every_published_schema_can_be_planned_with(data: Path) -> None:
    """Each tool is asked for in the words of its own description; no schema makes the rules stumble."""
    servers = sorted(path.stem for path in (data / "catalogue" / "live_tools").glob("*.json"))
    seen = 0
    for server in servers:
        for tool in tools_of(server, data):
            seen += 1
            made = planned(f"{tool.description[:300]} https://example.com/a 5", [tool])
            assert made["tasks"] or made["unmet"] or not tool.description
    assert seen > 300
