"""Tools are found by what is asked for; servers come and go at any time, and the order they came in changes nothing.

Proves FR-330 and FR-331.
"""

import itertools

import pytest

from chimera.tools.discovery.clauses import clauses
from chimera.tools.discovery.documents import ToolDocument, parameter_text
from chimera.tools.discovery.index import ToolIndex
from chimera.tools.discovery.words import pairs, spaced, stems

WEATHER = [
    ToolDocument("weather__get_forecast", "weather", "get_forecast", "Forecast of temperature and rain for a city."),
    ToolDocument("weather__get_alerts", "weather", "get_alerts", "Severe weather alerts of a region."),
]
MAIL = [ToolDocument("mail__sendMail", "mail", "sendMail", "Send an e-mail.", "recipient subject body of the message")]
FILES = [
    ToolDocument("files__read_file", "files", "read_file", "Read the contents of a file."),
    ToolDocument("files__write_file", "files", "write_file", "Write text to a file."),
]
SERVERS = {"weather": WEATHER, "mail": MAIL, "files": FILES}


def index_of(*names: str) -> ToolIndex:
    index = ToolIndex()
    for name in names or SERVERS:
        index.put(name, SERVERS[name])
    return index


def found(index: ToolIndex, query: str, k: int = 3) -> list[tuple[str, float]]:
    return [(hit.name, round(hit.score, 6)) for hit in index.search(query, k)]


def test_identifiers_are_taken_apart_and_scripts_without_spaces_too() -> None:
    assert stems("getHTTPPage_v2") == stems("get HTTP page v 2")
    assert spaced("getHTTPPage_v2") == "get HTTP Page v 2"
    assert stems("天气预报") == ["天气", "气预", "预报"]
    assert stems("x" * 100) == [], "no word is that long"
    assert pairs(["stock", "price", "price"]) == ["stock price"], "a pair is of two words"


@pytest.mark.parametrize(
    ("query", "name"),
    [
        ("will it rain in Paris tomorrow? I need a forecast", "weather__get_forecast"),
        ("write this text down in a file", "files__write_file"),
        ("send a message to a recipient", "mail__sendMail"),
    ],
)
def test_a_tool_is_found_by_what_it_does(query: str, name: str) -> None:
    first = index_of().search(query, 1)[0]
    assert first.name == name
    assert first.why, "it says which words it was found by"


def test_what_nobody_offers_finds_nothing() -> None:
    assert index_of().search("quantum chromodynamics") == []
    assert index_of().search("") == []
    assert ToolIndex().search("anything") == []


def test_the_order_in_which_servers_came_changes_nothing() -> None:
    query = "read a file and send the weather alerts by mail"
    answers = [found(index_of(*order), query) for order in itertools.permutations(SERVERS)]
    assert all(answer == answers[0] for answer in answers)


def test_a_server_that_went_and_came_back_is_as_if_it_had_stayed() -> None:
    index, query = index_of(), "forecast of the weather"
    before = found(index, query)
    index.drop("weather")
    assert not [name for name, _ in found(index, query) if name.startswith("weather")]
    assert len(index) == len(MAIL) + len(FILES)
    index.put("weather", WEATHER)
    index.put("weather", WEATHER)
    assert found(index, query) == before
    assert len(index) == 5


def test_only_what_is_allowed_is_shown() -> None:
    index, query = index_of(), "read or write a file"
    assert [hit.name for hit in index.search(query, 5, {"files__read_file"})] == ["files__read_file"]
    assert [hit.name for hit in index.search(query, 5, lambda name: name.endswith("write_file"))] == [
        "files__write_file"
    ]
    assert index.search(query, 5, set()) == []


def test_a_request_for_several_things_is_cut_into_them() -> None:
    text = "Find flights to Oslo, and then book a hotel near the station. Also check the weather there."
    assert clauses(text) == ["Find flights to Oslo", "book a hotel near the station.", "Also check the weather there."]
    assert clauses("Find flights to Oslo") == ["Find flights to Oslo"]
    assert clauses("") == [""]


def test_the_parameters_of_a_schema_are_read_within_limits() -> None:
    deep: dict[str, object] = {"type": "object", "properties": {"leaf": {"description": "deepest"}}}
    for _ in range(50):
        deep = {"type": "object", "properties": {"inner": deep}}
    schema = {"properties": {"city": {"description": "Name of the city", "enum": ["Oslo", "Paris"]}, "deep": deep}}
    text = parameter_text(schema)
    assert text.startswith("city Name of the city Oslo Paris deep inner")
    assert "deepest" not in text
    assert parameter_text(None) == parameter_text("text") == parameter_text({"properties": []}) == ""
    assert len(parameter_text({"properties": {f"p{n}": {"description": "x" * 900} for n in range(90)}})) <= 1_600
