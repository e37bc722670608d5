"""The simulators of vendors' servers have the real servers' contracts, and the product's mesh calls every tool of them.

Proves FR-513 and FR-514: the same tools, schemas and hints as in the contract that the real server listed; every tool
answers over stdio; over HTTP the same; the same call gives the same answer; every answer says that it is simulated;
arguments that do not fit are refused; nobody outside is reached.
"""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from chimera.core.errors import ToolRefused
from chimera.core.settings import Settings
from chimera.core.usable import argument_problems
from chimera.sim.vendors.answering import example
from chimera.sim.vendors.simulator import NOTICE
from chimera.tools.capability import Capability, ToolResult
from chimera.tools.catalogue import starting
from chimera.tools.catalogue.loading import catalogue, contract
from chimera.tools.catalogue.model import Status
from chimera.tools.mesh.mesh import ToolMesh
from chimera.tools.mesh.servers import ServerSpec

VENDORS = {
    "Twitter/X", "Instagram", "TikTok", "DALL-E", "Midjourney", "Runway",
    "NewsAPI", "Trends", "Analytics", "Coinbase", "Stripe", "Web3",
}  # fmt: skip
HERE = {"PYTHONPATH": SecretStr(str(Path(__file__).parents[2]))}
SIMULATED = [entry for entry in catalogue() if entry.contract]


def over_stdio(name: str) -> ServerSpec:
    args = ["-m", "chimera.sim.vendors", name]
    return ServerSpec(name=name, transport="stdio", command=sys.executable, args=args, env=HERE)


async def call(mesh: ToolMesh, tool: Capability, arguments: dict[str, Any]) -> ToolResult:
    return await mesh.call(tool.name, arguments, scope="m1", idempotency_key="k1", deadline_s=30)


def arguments_for(tool: Capability) -> dict[str, Any]:
    """Arguments that fit: the required ones, made from the schema."""
    made = example(tool.input_schema, {}, "test")
    required = tool.input_schema.get("required") or []
    return {name: made[name] for name in required}


def test_every_service_that_missions_name_has_a_route_and_a_simulator() -> None:
    assert {entry.vendor for entry in SIMULATED} == VENDORS
    assert all(entry.status is Status.SIMULATED and entry.tools for entry in SIMULATED)


@pytest.mark.parametrize("entries", [SIMULATED[:4], SIMULATED[4:8], SIMULATED[8:]], ids=["first", "second", "third"])
async def test_every_tool_answers_over_stdio(entries: list[Any], tmp_path: Path) -> None:
    async with ToolMesh([over_stdio(entry.contract) for entry in entries], Settings(home=tmp_path)) as mesh:
        tools = await mesh.capabilities()
        assert [status.dropped for status in mesh.status()] == [[]] * len(entries)
        for entry in entries:
            mine = {tool.tool: tool for tool in tools if tool.server == entry.contract}
            asked = contract(entry.contract)
            assert asked["version"] == entry.package.version
            assert set(mine) == {tool["name"] for tool in asked["tools"]}
            for given in asked["tools"]:
                tool = mine[given["name"]]
                assert (tool.input_schema, tool.output_schema) == (given["input_schema"], given["output_schema"])
                assert tool.read_only == given["read_only"]
                arguments = arguments_for(tool)
                assert argument_problems({"additionalProperties": True, **tool.input_schema}, arguments) == []
                answer = await call(mesh, tool, arguments)
                assert NOTICE in answer.text, "every answer says that it is simulated"
            first = mine[asked["tools"][0]["name"]]
            one, same = [await call(mesh, first, arguments_for(first)) for _ in range(2)]
            assert (one.text, one.data) == (same.text, same.data), "the same call, the same answer"


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    command = [sys.executable, "-m", "chimera.sim.vendors", "stripe", "--http", "0"]
    root = Path(__file__).parents[2]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, cwd=root) as process:
        assert process.stderr is not None
        yield json.loads(process.stderr.readline())["listening"]
        process.kill()


async def test_over_http_the_answers_are_those_over_stdio(url: str, tmp_path: Path) -> None:
    specs = [ServerSpec(name="far", transport="http", url=url), over_stdio("stripe")]
    async with ToolMesh(specs, Settings(home=tmp_path)) as mesh:
        tools = await mesh.capabilities()
        (near, far) = (next(t for t in tools if t.name == f"{where}__create_customer") for where in ("stripe", "far"))
        arguments = arguments_for(near)
        assert (await call(mesh, near, arguments)).data == (await call(mesh, far, arguments)).data


def test_what_was_started_is_written_down_without_a_word_of_its_author(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Proves FR-511 in part: a status ``started`` comes from a start, and its facts are those of the listing."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    tool = {**contract("midjourney")["tools"][0], "input_schema": {"type": "object", "description": "Their words."}}
    (tmp_path / "own.json").write_text(json.dumps({"vendor": "Own", "tools": [tool]}))
    out = tmp_path / "out.json"
    about = ["pypi", "own", "1.0", str(out), "--"]
    assert starting.main([*about, "no-such-command"]) == 1
    assert not out.exists()
    assert starting.main([*about, sys.executable, "-m", "chimera.sim.vendors", str(tmp_path / "own.json")]) == 0
    found = json.loads(out.read_text("utf-8"))
    assert [listed["name"] for listed in found["facts"]["tools"]] == [tool["name"]]
    assert found["contract"]["tools"][0]["input_schema"] == {"type": "object"}
    assert not {"description", "Their words."} & set(re.findall(r'"([^"]*)"', out.read_text("utf-8")))


async def test_arguments_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    async with ToolMesh([over_stdio("web3")], Settings(home=tmp_path)) as mesh:
        tools = {tool.tool: tool for tool in await mesh.capabilities()}
        with pytest.raises(ToolRefused):
            await call(mesh, tools["eth_get_balance"], {"address": {"no": "text"}})


def test_a_contract_that_there_is_not_is_told() -> None:
    command = [sys.executable, "-m", "chimera.sim.vendors", "nobody"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2])
    assert done.returncode == 2
    assert "CH100" in done.stderr
    assert "Traceback" not in done.stderr
