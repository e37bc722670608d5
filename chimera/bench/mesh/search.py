"""What a search for tools costs with 500 and with 40,000 tools, and what it costs to index them.

The tools are made of real ones, of the catalogue folder under ``$CHIMERA_DATA``: each is a real tool's name with the
descriptions of two, so that words are as frequent as they are in fact. No dense model is asked.
"""

import json
import os
import random
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from chimera.core.errors import InputError
from chimera.tools.discovery.documents import ToolDocument, parameter_text
from chimera.tools.discovery.index import ToolIndex

SMALL, LARGE, QUICK_LARGE = 500, 40_000, 5_000
PER_SERVER = 20
QUERIES = 200
WARM_UP = 20
SEED = 0


def measure_search(*, quick: bool) -> dict[str, float]:
    """The figures ``search_p95_ms_500``, ``search_p95_ms_40k``, ``index_40k_s``, ``update_server_s``, and CPU times.

    ``quick`` has 5,000 tools stand for 40,000; ``search_tools`` says how many there were.

    Raises:
        InputError: there is no catalogue to make tools of.
    """
    parts = catalogue_tools()
    size = QUICK_LARGE if quick else LARGE
    small, _ = _filled(made_tools(parts, SMALL))
    tools = made_tools(parts, size)
    large, indexed_s = _filled(tools)
    queries = [_request(parts, number) for number in range(QUERIES // 4 if quick else QUERIES)]
    changed = [document for document in tools if document.server == tools[0].server]
    began = time.perf_counter()
    large.put(tools[0].server, changed[1:])
    large.search(queries[0])
    updated_s = time.perf_counter() - began
    small_ms, small_cpu_ms = _p95_ms(small, queries)
    large_ms, large_cpu_ms = _p95_ms(large, queries)
    return {
        "search_tools": size,
        "search_p95_ms_500": small_ms,
        "search_p95_ms_40k": large_ms,
        "search_cpu_p95_ms_500": small_cpu_ms,
        "search_cpu_p95_ms_40k": large_cpu_ms,
        "index_40k_s": indexed_s,
        "update_server_s": updated_s,
    }


def catalogue_tools() -> list[ToolDocument]:
    """The tools of the catalogue folder.

    Raises:
        InputError: there are none.
    """
    folder = Path(os.environ.get("CHIMERA_DATA") or "", "catalogue")
    listed = folder / "docker_tools.jsonl"
    rows: list[dict[str, Any]] = []
    if os.environ.get("CHIMERA_DATA") and listed.is_file():
        rows += [json.loads(line) for line in listed.read_text("utf-8").splitlines() if line.strip()]
        for file in sorted(folder.glob("live_tools/*.json")):
            answer = cast("dict[str, Any]", json.loads(file.read_text("utf-8")))
            rows += [{"server": answer["server"], **tool} for tool in answer.get("tools") or []]
    if not rows:
        raise InputError("no catalogue to make tools of", remedy="Set CHIMERA_DATA to a folder with catalogue/.")
    return [
        ToolDocument(
            name=f"{row['server']}__{row['name']}",
            server=str(row["server"]),
            tool=str(row["name"]),
            description=str(row.get("description") or ""),
            parameters=parameter_text(row.get("inputSchema")),
        )
        for row in rows
    ]


def made_tools(parts: Sequence[ToolDocument], count: int) -> list[ToolDocument]:
    """``count`` tools of made servers with 20 tools each, put together from real ones."""
    chance = random.Random(SEED)
    made: list[ToolDocument] = []
    for number in range(count):
        one, other, third = (chance.choice(parts) for _ in range(3))
        server = f"{parts[number // PER_SERVER % len(parts)].server}-{number // PER_SERVER}"
        tool = f"{one.tool}_{number}"
        description = f"{one.description} {other.description}"
        made.append(ToolDocument(f"{server}__{tool}", server, tool, description, third.parameters))
    return made


def _filled(tools: Sequence[ToolDocument]) -> tuple[ToolIndex, float]:
    """An index, and the seconds until its first answer."""
    by_server: dict[str, list[ToolDocument]] = {}
    for tool in tools:
        by_server.setdefault(tool.server, []).append(tool)
    index = ToolIndex()
    began = time.perf_counter()
    for server, documents in by_server.items():
        index.put(server, documents)
    index.search("read a file")
    return index, time.perf_counter() - began


def _request(parts: Sequence[ToolDocument], number: int) -> str:
    """A request for one to three things, in the words of real tools."""
    chance = random.Random(SEED + 1 + number)
    wanted = [" ".join(chance.choice(parts).description.split()[:14]) for _ in range(1 + number % 3)]
    return "I need to " + ". Then ".join(wanted)


def _p95_ms(index: ToolIndex, queries: Sequence[str]) -> tuple[float, float]:
    """By the clock, and in CPU time, which a busy machine leaves as it is."""
    for query in queries[:WARM_UP]:
        index.search(query)
    times: list[float] = []
    used: list[float] = []
    for query in queries:
        began, began_cpu = time.perf_counter(), time.process_time()
        index.search(query)
        times.append((time.perf_counter() - began) * 1e3)
        used.append((time.process_time() - began_cpu) * 1e3)
    place = int(len(times) * 0.95)
    return sorted(times)[place], sorted(used)[place]
