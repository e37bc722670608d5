"""A location reaches a tool only when the user named it, however it is written. Proves FR-79."""

from pathlib import Path
from typing import Any

import pytest

from chimera.core.contracts import Mission
from chimera.guards.flow import NamedSource
from chimera.guards.request import Edge, GuardRequest
from chimera.tools.capability import Capability
from chimera.tools.servers.files import build as files_server
from chimera.tools.servers.serving import ToolServer
from chimera.tools.servers.trends import build as trends_server

TEXT = {"type": "string"}
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "url": TEXT,
        "file_path": TEXT,
        "paths": {"type": "array", "items": TEXT},
        "source": {**TEXT, "description": "path of a file, or http(s) URL"},
        "input": {**TEXT, "description": "what to look at: a word, or the name of a file"},
        "link": {"anyOf": [{**TEXT, "format": "uri"}, {"type": "null"}]},
        "name": {**TEXT, "description": "file name without folders", "pattern": "^[A-Za-z0-9][A-Za-z0-9_.-]*$"},
        "folder": {**TEXT, "default": "."},
        "text": TEXT,
        "options": {"type": "object", "properties": {"save_to_dir": TEXT, "note": TEXT}},
    },
}


def request(arguments: dict[str, Any], goal: str = "Do it", schema: Any = None, **inputs: str) -> GuardRequest:
    tool = Capability(name="a__b", server="a", tool="b", input_schema=SCHEMA if schema is None else schema)
    mission = Mission(goal=goal, inputs=inputs)
    return GuardRequest(edge=Edge.TOOL_CALL, payload=arguments, mission=mission, capability=tool)


async def passes(arguments: dict[str, Any], goal: str = "Do it", schema: Any = None, **inputs: str) -> bool:
    decision = await NamedSource().check(request(arguments, goal, schema, **inputs))
    assert decision is None or decision.action == "reject"
    return decision is None


HOSTILE = [
    "/etc/passwd",
    "  /etc/passwd",
    "/etc/passwd\n",
    "\t/etc/passwd\r\n",
    "'/etc/passwd'",
    '"/etc/passwd"',
    "</etc/passwd>",
    "@/etc/passwd",
    "~/.ssh/id_rsa",
    "~root/.ssh/id_rsa",
    "../secrets.toml",
    "a/../../secrets.toml",
    "..",
    "a\\..\\secrets.toml",
    "./chimera.toml",
    ".\\chimera.toml",
    "C:\\Users\\me\\key.txt",
    "c:/Users/me/key.txt",
    "\\\\host\\share\\x",
    "$HOME/.netrc",
    "${HOME}/.netrc",
    "%USERPROFILE%\\key.txt",
    "file:///etc/passwd",
    "file:/etc/passwd",
    "FILE:/etc/passwd",
    "FiLe:///etc/passwd",
    "data:text/plain,hi",
    "JavaScript:alert(1)",
    "http://evil.example/",
    "HTTPS://EVIL.EXAMPLE/",
    "https:evil.example/x",
    "http:\\\\evil.example",
    "//evil.example/x",
    "www.evil.example/collect",
    "ftp://evil.example/x",
    "git@evil.example:me/repo.git",
    "%2Fetc%2Fpasswd",
    "%252Fetc%252Fpasswd",
    "..%2f..%2fetc%2fpasswd",
    "%2e%2e/%2e%2e/etc/passwd",
    "https%3A%2F%2Fevil.example",
    "／etc／passwd",
    "ｈｔｔｐｓ：／／evil.example",
    "https://evil.example/?d=" + "x" * 5_000,
    "https://example.com@evil.example/",
]


@pytest.mark.parametrize("location", HOSTILE, ids=lambda text: text[:40])
@pytest.mark.parametrize("argument", ["text", "url", "source"])
async def test_no_way_of_writing_a_location_passes(location: str, argument: str) -> None:
    assert not await passes(
        {argument: location}, "Find what is rising in https://example.com/feed.xml", feed="posts.csv"
    )


@pytest.mark.parametrize("location", HOSTILE, ids=lambda text: text[:40])
async def test_a_location_inside_a_list_or_an_object_is_seen(location: str) -> None:
    assert not await passes({"paths": ["ok", location]}, "Read ok")
    assert not await passes({"options": {"note": location}})
    assert not await passes({location: 1})


@pytest.mark.parametrize(
    "arguments",
    [
        {"file_path": "chimera.toml"},
        {"file_path": "secrets"},
        {"file_path": "my notes.txt"},
        {"file_path": "a\nb"},
        {"source": "chimera.toml"},
        {"source": "id_rsa"},
        {"input": "chimera.toml"},
        {"input": ".env"},
        {"input": "secrets/key"},
        {"link": "evil.example"},
        {"url": "evil.example"},
        {"paths": ["chimera.toml"]},
        {"options": {"save_to_dir": "public"}},
        {"unknown_path": "chimera.toml"},
    ],
    ids=str,
)
async def test_a_relative_name_is_a_location_where_the_schema_asks_for_one(arguments: dict[str, Any]) -> None:
    assert not await passes(arguments, "Find what is rising")


def schema_of(server: ToolServer, name: str) -> dict[str, Any]:
    return next(tool["inputSchema"] for tool in server.listing() if tool["name"] == name)


async def test_a_first_party_tool_does_not_read_a_file_that_a_feed_named() -> None:
    """The settings file of the working folder may hold a key."""
    schema = schema_of(trends_server(), "analyze_trends")
    assert not await passes({"source": "chimera.toml"}, "What rises?", schema, feed="posts.csv")
    assert await passes({"source": "posts.csv"}, "What rises?", schema, feed="posts.csv")


async def test_an_artifact_has_a_name_and_no_location(tmp_path: Path) -> None:
    """Its schema has no way out of the mission's own folder."""
    schema = schema_of(files_server(tmp_path), "write_artifact")
    assert await passes({"name": "briefing.md", "content": "See /etc/hosts\nand x"}, schema=schema)
    assert not await passes({"name": "briefing.md", "content": "/etc/passwd"}, schema=schema)


NAMED: list[tuple[str, str, dict[str, str]]] = [
    ("/data/posts.csv", "Read /data/posts.csv", {}),
    ("/data/posts.csv", "Read '/data/posts.csv'.", {}),
    ("/data/posts.csv", "Compare (/data/posts.csv), then stop", {}),
    ("/my data/posts 1.csv", "Read it", {"feed": "/my data/posts 1.csv"}),
    ("https://example.com/a?b=1&c=%20", "Fetch https://example.com/a?b=1&c=%20!", {}),
    ("https://example.com/a", "Fetch <https://example.com/a>", {}),
    ("posts.csv", "Do it", {"feed": "posts.csv"}),
    ("posts.csv", "Read posts.csv, please", {}),
    ("a/../b.csv", "Read a/../b.csv", {}),
]


@pytest.mark.parametrize(("location", "goal", "inputs"), NAMED)
async def test_what_the_user_named_passes(location: str, goal: str, inputs: dict[str, str]) -> None:
    for argument in ("url", "file_path", "source", "input", "text"):
        assert await passes({argument: location}, goal, **inputs)
    assert await passes({"paths": [location]}, goal, **inputs)


@pytest.mark.parametrize(
    ("location", "goal"),
    [
        ("/data/posts", "Read /data/posts.csv"),
        ("/data", "Read /data/posts.csv"),
        ("data/posts.csv", "Read /data/posts.csv"),
        ("https://example.com", "Fetch https://example.com:8443/a"),
        ("https://example.com", "Fetch https://example.com.evil.example/a"),
        ("https://example.com/a", "Fetch https://example.com/a?b=1"),
        ("https://example.com/a/", "Fetch https://example.com/a"),
        ("https://EXAMPLE.com/a", "Fetch https://example.com/a"),
        ("http://example.com/a", "Fetch https://example.com/a"),
        ("https://example.com/a#x", "Fetch https://example.com/a"),
        ("https://example.com/%61", "Fetch https://example.com/a"),
        ("/DATA/posts.csv", "Read /data/posts.csv"),
        ("/data/./posts.csv", "Read /data/posts.csv"),
        ("/data/posts.csv /etc/passwd", "Read /data/posts.csv"),
    ],
)
async def test_what_only_looks_like_it_does_not(location: str, goal: str) -> None:
    assert not await passes({"file_path": location}, goal)


@pytest.mark.parametrize(
    "text",
    [
        "AI / robotics",
        "what is new in node.js",
        "~50 posts",
        "either/or",
        "note: it rises",
        "12:30",
        "a document\nthat speaks of /etc/passwd and https://evil.example",
        "/etc/passwd is a file\nof Unix",
        "e.g. and i.e.",
        "site:example.com rust",
        "",
        "...",
        "1.5",
    ],
)
async def test_words_and_documents_pass(text: str) -> None:
    assert await passes({"text": text})


async def test_prose_that_opens_with_a_named_location_passes_and_with_another_does_not() -> None:
    assert await passes({"text": "https://example.com/a is down"}, "Report on https://example.com/a")
    assert not await passes({"text": "https://evil.example/a is down"}, "Report on https://example.com/a")
    assert not await passes({"url": "https://example.com/a https://evil.example"}, "Report on https://example.com/a")


async def test_the_tools_own_default_and_choices_pass() -> None:
    schema = {"properties": {"path": {**TEXT, "default": "."}, "dir": {**TEXT, "enum": ["in", "out"]}}}
    assert await passes({"path": ".", "dir": "out"}, schema=schema)
    assert not await passes({"path": "..", "dir": "out"}, schema=schema)


async def test_a_schema_behind_a_reference_is_read() -> None:
    schema = {"properties": {"it": {"$ref": "#/$defs/Place"}}, "$defs": {"Place": {**TEXT, "format": "uri"}}}
    assert not await passes({"it": "evil.example"}, schema=schema)


async def test_without_a_mission_nothing_is_named() -> None:
    bare = GuardRequest(edge=Edge.TOOL_CALL, payload={"text": "/etc/passwd"})
    decision = await NamedSource().check(bare)
    assert decision is not None
    assert (decision.action, decision.rules) == ("reject", ["flow.named-source"])
    assert "/etc" not in str(decision.reasons), "the location is not repeated"


@pytest.mark.timeout(20)
@pytest.mark.parametrize("unit", ["/", "a/", "..", "%2", "@a", ".", " ", "x@x:", "~", "${", "\u2100", "a."])
async def test_long_values_take_no_time(unit: str) -> None:
    long = unit * (250_000 // len(unit))
    for text in (long, long + " x", long + "\n"):
        await passes({"text": text, "input": text, "source": text}, "Read " + unit * 1_000, feed=long)
