"""The same work is measured on every framework, and what it comes to is said as it is. Proves FR-379.

The frameworks themselves are not run here: small programs in their place say what a real one might.
"""

import asyncio
import importlib
import json
import re
import sys
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from chimera.bench.peers import asking, run
from chimera.bench.peers.asking import Load, Seen, ask
from chimera.bench.peers.environments import installed_here, python_for
from chimera.bench.peers.figures import FAILED, LATE, NOT_TRIED, OK, Row, figures, goals, ratios, row_of, table
from chimera.bench.peers.known import FOLDER, Peer, chosen_peers, known_peers
from chimera.bench.peers.run import Asked, asked, main_peers, measure_peers, runs_for
from chimera.core.errors import ConfigError, InputError

ROOT = Path(__file__).resolve().parents[2]
PIN = re.compile(r"^([a-z0-9-]+)(?:\[[a-z0-9]+\])?==([^\s;]+)(?: ; .+)?$")
LOAD = Load(in_flight=4, runs=8, median_s=0.0, seed=1, limit_s=20.0)


def pins(file: Path) -> dict[str, str]:
    lines = [line for line in file.read_text("utf-8").splitlines() if line and not line.startswith("#")]
    found = [PIN.match(line) for line in lines]
    assert [line for line, pin in zip(lines, found, strict=True) if pin is None] == [], f"not pinned in {file}"
    return {pin[1]: pin[2] for pin in found if pin}


# --- what is there ---------------------------------------------------------------------------------------------------


def test_every_framework_has_its_folder_and_no_folder_is_left_over() -> None:
    folders = {path.name for path in FOLDER.iterdir() if path.is_dir()} - {"shared", "__pycache__"}
    assert folders == {peer.name for peer in known_peers()}
    assert [peer.name for peer in known_peers() if not (FOLDER / peer.name / "work.py").is_file()] == []
    assert all(peer.durable and peer.guards and peer.record for peer in known_peers())


@pytest.mark.parametrize("peer", [peer for peer in known_peers() if not peer.ours], ids=lambda peer: peer.name)
def test_every_package_is_pinned_and_no_address_is_named(peer: Peer) -> None:
    asked_for, installed = pins(FOLDER / peer.name / "requirements.in"), pins(FOLDER / peer.name / "requirements.txt")
    assert asked_for.items() <= installed.items()
    assert peer.package in asked_for


def test_bare_langgraph_is_the_one_that_chimera_runs_on() -> None:
    ours = dict(re.findall(r"^([a-z0-9-]+)==(\S+)", (ROOT / "requirements.lock").read_text("utf-8"), re.MULTILINE))
    bare = pins(FOLDER / "langgraph" / "requirements.in")
    assert bare == {name: ours[name] for name in bare}, "write requirements.in and requirements.txt anew"


# --- the shared work -------------------------------------------------------------------------------------------------


@pytest.fixture
def shared(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], ModuleType]:
    monkeypatch.syspath_prepend(str(FOLDER / "shared"))
    return importlib.import_module


async def one_run(simulated: Any, model: Any, run: str) -> tuple[str, str]:
    """A run as every framework does it, without any."""
    called = await model.say("worker", simulated.task_of(run))
    found = await simulated.search(**called.arguments)
    answer = (await model.say("worker", simulated.task_of(run), found)).text
    return answer, (await model.say("judge", simulated.to_judge(run, answer))).text


async def test_the_same_seed_gives_the_same_work(shared: Callable[[str], ModuleType]) -> None:
    simulated = shared("simulated")
    seen: list[Any] = []
    for seed in (7, 7, 8):
        model = simulated.Simulated(seed, 0.0001)
        runs = [f"run-{number}" for number in range(20)]
        answers = await asyncio.gather(*(one_run(simulated, model, run) for run in runs))
        assert all(simulated.right(run, *answer) for run, answer in zip(runs, answers, strict=True))
        assert model.calls == 60
        seen.append((answers, [model.waited(run) for run in runs]))
    assert seen[0] == seen[1]
    assert seen[0][1] != seen[2][1]


async def test_an_answer_that_is_not_of_its_run_is_wrong(shared: Callable[[str], ModuleType]) -> None:
    simulated = shared("simulated")
    model = simulated.Simulated(1, 0.0)
    answer, verdict = await one_run(simulated, model, "run-1")
    assert simulated.right("run-1", answer, verdict)
    assert not simulated.right("run-2", answer, verdict)
    lost = (await model.say("worker", "run-1", "nothing was found")).text
    refused = (await model.say("judge", simulated.to_judge("run-1", lost))).text
    assert not simulated.right("run-1", answer, refused)


async def test_what_fails_is_wrong_or_late_is_counted(shared: Callable[[str], ModuleType]) -> None:
    simulated, measured = shared("simulated"), shared("measured")
    model = simulated.Simulated(1, 0.0)

    async def work(run: str) -> tuple[str, str]:
        if run == "run-0":
            raise ValueError("no")
        if run == "run-7":
            await asyncio.sleep(60)
        answer, verdict = await one_run(simulated, model, run)
        return ("another" if run == "run-1" else answer), verdict

    seen, unfinished = await measured.measure(measured.Load(2, 8, 0.0, 1, 0.2), model, work)
    assert (seen.errors, seen.error, seen.wrong, seen.done) == (1, "ValueError: no", 1, 6)
    assert seen.timed_out
    assert seen.calls == 18
    assert len(seen.added_ms) == 2
    for task in unfinished:
        task.cancel()


def test_both_sides_speak_of_the_same_fields(shared: Callable[[str], ModuleType]) -> None:
    measured = shared("measured")
    for ours, theirs in ((Load, measured.Load), (Seen, measured.Seen)):
        assert [field.name for field in fields(ours)] == [field.name for field in fields(theirs)]


# --- figures ---------------------------------------------------------------------------------------------------------

BARE = Row("langgraph", 100, OK, cpu_ms=4.0, runs_per_s=50.0, kb_per_agent=40.0, done=100, runs=100, calls=3.0)
OTHER = Row("agno", 100, OK, cpu_ms=2.0, runs_per_s=75.0, kb_per_agent=60.0, done=100, runs=100, calls=3.0)


def test_ratios_are_to_bare_langgraph_at_the_same_size() -> None:
    assert ratios(OTHER, BARE) == {"cpu_ratio": 0.5, "rate_ratio": 1.5, "kb_ratio": 1.5}
    found = figures([BARE, OTHER, Row("agno", 1_000, OK, cpu_ms=9.0)])
    assert found["agno_100_cpu_ratio"] == 0.5
    assert found["langgraph_100_rate_ratio"] == 1.0
    assert "agno_1000_cpu_ratio" not in found
    assert found["agno_1000_cpu_ms"] == 9.0


def test_nothing_is_a_ratio_to_what_did_not_end_well() -> None:
    late = Row("langgraph", 100, LATE, cpu_ms=4.0)
    assert ratios(OTHER, late) == {}
    assert ratios(late, BARE) == {}
    assert ratios(OTHER, None) == {}
    assert not any(name.startswith("langgraph_100") for name in figures([late]))


def test_a_row_says_how_it_ended() -> None:
    peer = known_peers()[0]
    well = Seen(done=8, clock_s=2.0, cpu_s=0.04, calls=24, peak_kb=400, added_ms=(1.26, 3.0))
    row = row_of(peer, LOAD, well)
    assert (row.state, row.cpu_ms, row.runs_per_s, row.calls, row.added_p50_ms) == (OK, 5.0, 4.0, 3.0, 1.3)
    assert row_of(peer, LOAD, Seen(done=5, timed_out=True)).why == "5 of 8 runs within 20 s"
    assert row_of(peer, LOAD, Seen(done=5, timed_out=True)).state == LATE
    assert row_of(peer, LOAD, Seen(done=5, timed_out=True, cpu_s=9.0, clock_s=9.0, added_ms=(1.0, 2.0))).cpu_ms == 0.0
    assert row_of(peer, LOAD, Seen(done=8, wrong=1)).state == FAILED
    assert row_of(peer, LOAD, Seen(done=7, errors=1, error="ValueError: no")).why == "ValueError: no"


def test_a_wrong_result_and_an_error_of_chimera_miss_a_goal() -> None:
    assert goals([BARE]) == {"wrong_results": ("==", 0)}
    ours = Row("chimera", 100, FAILED, errors=2)
    assert goals([BARE, ours]) == {"wrong_results": ("==", 0), "chimera_errors": ("==", 0)}
    assert figures([BARE, ours])["chimera_errors"] == 2


def test_the_table_names_what_was_not_reached_and_what_is_left_out() -> None:
    peers = chosen_peers(["langgraph"])
    told = {"cpu": "some", "cores": 2, "load_at_start": 0.1, "peers": {"langgraph": {"version": "1"}}}
    shown = table([BARE, Row("langgraph", 1_000, LATE, "5 of 8 runs within 20 s")], peers, told)
    assert "time limit: 5 of 8 runs within 20 s" in shown
    assert f"durable: {peers[0].durable}" in shown


def test_the_table_that_is_published_is_that_of_the_last_whole_run() -> None:
    last = json.loads((FOLDER.parent / "results" / "peers.json").read_text("utf-8"))
    expected: dict[str, list[str]] = {}
    for row in last["conditions"]["rows"]:
        ratio = last["figures"].get(f"{row['peer']}_{row['size']}_cpu_ratio")
        cell = row["state"] if ratio is None else f"{row['cpu_ms']:.1f} ({ratio:.2f})"
        expected.setdefault(row["peer"], []).append(cell)
    lines = (FOLDER.parent / "README.md").read_text("utf-8").partition("## Results")[2].splitlines()
    shown = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    assert {cells[0]: cells[1:] for cells in shown[2:]} == expected
    assert last["conditions"]["at"][:10] in "".join(lines)


# --- the command -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sizes", ["0", "-1", "ten", "1,,x", "100001", "1.5"])
def test_sizes_that_are_none_are_refused(sizes: str, tmp_path: Path) -> None:
    with pytest.raises(InputError):
        asked([], sizes, tmp_path, quick=False)


def test_what_is_asked_for(tmp_path: Path) -> None:
    assert asked([], "", tmp_path, quick=False).sizes == run.SIZES
    assert asked(["agno,crewai", "autogen"], "100,1", tmp_path, quick=False).only == ["agno", "crewai", "autogen"]
    assert asked([], "", tmp_path, quick=True).only == ("langgraph", "chimera")
    assert asked([], "100,1,100", tmp_path, quick=True).sizes == [1, 100]
    assert [asked([], "", tmp_path, quick=True, limit_s=limit).limit_s for limit in (0.0, 9.0)] == [20.0, 9.0]
    assert [runs_for(size) for size in (1, 100, 10_000)] == [10, 300, 10_000]


def test_an_unknown_framework_is_refused_and_an_installed_package_says_what_it_lacks(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="haystack"):
        chosen_peers(["haystack"])
    with pytest.raises(ConfigError, match="checkout"):
        main_peers(Asked([], [1], tmp_path), as_json=True, folder=tmp_path)
    (tmp_path / "peers.toml").write_text("[[peer]]\nname = 1\n", "utf-8")
    with pytest.raises(ConfigError):
        known_peers(tmp_path)


async def test_this_environment_is_used_where_it_has_the_versions(tmp_path: Path) -> None:
    asked_for = (FOLDER / "langgraph" / "requirements.in").read_text("utf-8")
    assert installed_here(asked_for)
    assert not installed_here(asked_for + "\nno-such-package==1.0\n")
    assert not installed_here("")
    with pytest.raises(ConfigError, match="requirements"):
        await python_for(tmp_path, tmp_path, lambda _: None)


# --- asking ----------------------------------------------------------------------------------------------------------

WORKS = """
import asyncio
from contextlib import asynccontextmanager
from measured import main
from simulated import search, task_of, to_judge

@asynccontextmanager
async def opened(model):
    print("frameworks print")
    async def work(run):
        called = await model.say("worker", task_of(run))
        answer = (await model.say("worker", task_of(run), await search(**called.arguments))).text
        return answer, (await model.say("judge", to_judge(run, answer))).text
    yield work

main(opened)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Frameworks of a test: one that works, one that cannot start, one that says nothing."""
    (tmp_path / "shared").symlink_to(FOLDER / "shared")
    words = 'title = "T"\npackage = "packaging"\ndurable = "no"\nguards = "no"\nrecord = "no"\n'
    programs = {"works": WORKS, "dies": "raise SystemExit('no such luck')", "hangs": "import time; time.sleep(600)"}
    (tmp_path / "peers.toml").write_text("".join(f'[[peer]]\nname = "{name}"\n{words}' for name in programs), "utf-8")
    lock = (ROOT / "requirements.lock").read_text("utf-8")
    pin = next(line.split(" ")[0] for line in lock.splitlines() if line.startswith("packaging=="))
    for name, program in programs.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "work.py").write_text(program, "utf-8")
        for file in ("requirements.in", "requirements.txt"):
            (tmp_path / name / file).write_text(f"{pin}\n", "utf-8")
    return tmp_path


async def test_a_framework_is_asked_in_a_process_of_its_own_and_its_failure_is_a_row(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(asking, "CLOSE_S", 10.0)
    wanted = Asked(["works", "dies"], (2, 12), folder / "environments", limit_s=20.0, median_s=0.001)
    found, rows = await measure_peers(wanted, chosen_peers(wanted.only, folder), folder=folder)
    assert [(row.peer, row.size, row.state) for row in rows] == [
        ("works", 2, OK),
        ("dies", 2, FAILED),
        ("works", 12, OK),
        ("dies", 12, NOT_TRIED),
    ]
    assert rows[1].why == "no such luck"
    assert (rows[2].done, rows[2].calls) == (36, 3.0)
    assert found.conditions["peers"]["works"]["environment"] == "this one"
    assert found.figures["wrong_results"] == 0
    assert "works: 12 in flight" in capsys.readouterr().err
    assert not (folder / "environments").exists()


async def test_one_that_never_answers_is_ended(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("START_S", "CLOSE_S"):
        monkeypatch.setattr(asking, name, 0.3)
    load = Load(in_flight=1, runs=1, median_s=0.0, seed=1, limit_s=0.2)
    seen = await ask(chosen_peers(["hangs"], folder)[0], Path(sys.executable), load, folder)
    assert seen == Seen(error="it did not answer in time", timed_out=True)
