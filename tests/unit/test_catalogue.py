"""The catalogue is what it says: facts with their source, pinned versions, our own words, and honest statuses.

Proves FR-510, FR-511, FR-512: more than 200 servers in the five categories; each with an exact version, a source and a
description of ours; a status that the files behind it bear out, none verified; the README states the counts; the files
follow from what was reviewed; no schema in them has a text of its author.
"""

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from chimera.core.errors import InputError
from chimera.tools.catalogue import build
from chimera.tools.catalogue.loading import catalogue, contract, counts, listed
from chimera.tools.catalogue.model import Status
from chimera.tools.catalogue.schemas import bare
from chimera.tools.registry.model import CATEGORIES
from chimera.tools.registry.serving import to_spec

ROOT = Path(__file__).resolve().parents[2]
CONTRACTS = sorted(entry.contract for entry in catalogue() if entry.contract)


def test_there_are_more_than_two_hundred_servers_in_every_category() -> None:
    assert len(catalogue()) >= 200
    assert len({entry.name for entry in catalogue()}) == len(catalogue())
    assert len({(entry.package.registry, entry.package.name.lower()) for entry in catalogue()}) == len(catalogue())
    for category in CATEGORIES:
        assert sum(entry.category == category for entry in catalogue()) >= 30


def test_every_entry_can_be_registered_and_its_command_names_its_version() -> None:
    for item in catalogue():
        entry = item.entry()
        assert any(entry.version in part for part in to_spec(entry, {}).args), item.name
        assert entry.names() == []
        assert item.sources[0].date, item.name
        assert 3 <= len(item.description.split()) <= 25 or item.description.count(" ") >= 1


def test_statuses_are_borne_out_by_what_lies_beside_them() -> None:
    lines = (Path(build.__file__).parent / "started.jsonl").read_text("utf-8").splitlines()
    started = {(item["registry"], item["package"].lower()): item for item in map(json.loads, lines)}
    for entry in catalogue():
        facts = started.get((entry.package.registry, entry.package.name.lower()))
        match entry.status:
            case Status.CATALOGUED:
                assert facts is None
                assert entry.tools == []
            case Status.STARTED | Status.SIMULATED:
                assert facts is not None
                assert facts["version"] == entry.package.version
                assert [tool.name for tool in entry.tools] == [tool["name"] for tool in facts["tools"]] != []
                assert bool(entry.contract) == (entry.status is Status.SIMULATED)
            case Status.VERIFIED:
                pytest.fail(f"{entry.name}: nothing was verified against a vendor")


def test_the_readme_states_the_counts() -> None:
    found = counts()
    text = " ".join((ROOT / "README.md").read_text("utf-8").split())
    told = re.search(
        r"catalogue of (\d+) real servers: (\d+) catalogued, (\d+) that start offline and list their tools, "
        r"(\d+) more that are contract-tested on a simulator, (\d+) verified",
        text,
    )
    assert told is not None
    wanted = [found[status] for status in (Status.CATALOGUED, Status.STARTED, Status.SIMULATED, Status.VERIFIED)]
    assert [int(number) for number in told.groups()] == [sum(wanted), *wanted]


@pytest.mark.skipif("CHIMERA_DATA" not in os.environ, reason="CHIMERA_DATA is not set")
def test_the_files_follow_from_what_was_reviewed(capsys: pytest.CaptureFixture[str]) -> None:
    assert build.main(["--check"]) == 0, capsys.readouterr().err


@pytest.mark.skipif("CHIMERA_DATA" not in os.environ, reason="CHIMERA_DATA is not set")
def test_no_description_is_copied() -> None:
    folder = Path(os.environ["CHIMERA_DATA"]) / "catalogue"
    theirs: set[str] = set()
    for name in ("official_seed_2025_05_16.json", "docker_servers.json"):
        theirs |= {_words(str(item.get("description", ""))) for item in json.loads((folder / name).read_text("utf-8"))}
    lines = (folder / "toolsdk_servers.jsonl").read_text("utf-8").splitlines()
    theirs |= {_words(str(json.loads(line).get("description", ""))) for line in lines}
    assert [entry.name for entry in catalogue() if _words(entry.description) in theirs] == []


def _words(text: str) -> str:
    return " ".join(re.findall(r"[a-z0-9]+", text.lower()))


def _texts(schema: Any) -> Iterator[str]:
    if isinstance(schema, list):
        for item in cast("list[Any]", schema):
            yield from _texts(item)
    elif isinstance(schema, dict):
        for key, value in cast("dict[str, Any]", schema).items():
            if key in ("properties", "$defs"):
                for inner in cast("dict[str, Any]", value).values():
                    yield from _texts(inner)
            elif key in ("title", "description", "examples"):
                yield str(value)
            else:
                yield from _texts(value)


@pytest.mark.parametrize("name", CONTRACTS)
def test_contracts_hold_names_and_schemas_and_no_texts(name: str) -> None:
    for tool in contract(name)["tools"]:
        assert [*_texts(tool["input_schema"]), *_texts(tool["output_schema"])] == []


def test_a_property_that_is_called_like_a_keyword_stays() -> None:
    schema = {"title": "T", "properties": {"description": {"type": "string", "description": "Words."}}}
    assert bare(schema) == {"properties": {"description": {"type": "string"}}}


def test_names_vendors_and_packages_find_an_entry() -> None:
    assert listed("Stripe").contract == "stripe"
    assert listed("@stripe/mcp").package.name == "@stripe/mcp"
    with pytest.raises(InputError, match="neither a file nor in the catalogue"):
        listed("nobody-has-this")
    with pytest.raises(InputError, match="no contract"):
        contract("../reviewed")
