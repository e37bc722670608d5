"""The one object that benchmarks and evaluations print: it says what was missed, and an absent figure is missed."""

import json

import pytest

from chimera.core.figures import Measured, machine, report

FOUND = Measured(
    "guards",
    {**machine(["pytest", "no-such-package"]), "seeds": {"x": 1}},
    {"fast": 250_000, "lost": 0, "share": 0.25},
    {"fast": (">=", 200_000), "lost": ("==", 0), "share": ("<=", 0.2), "absent": ("<=", 1)},
)


def test_what_does_not_hold_is_missed_and_so_is_what_was_not_measured() -> None:
    assert FOUND.missed == ["share", "absent"]
    assert Measured("x", {}, {"a": float("nan")}, {"a": ("<=", 1)}).missed == ["a"]
    assert Measured("x", {}, {"a": 1}, {"a": ("<=", 1)}).missed == []


def test_json_is_one_object_with_the_agreed_keys(capsys: pytest.CaptureFixture[str]) -> None:
    assert report(FOUND, as_json=True) == 1
    printed = json.loads(capsys.readouterr().out)
    assert list(printed) == ["name", "conditions", "figures", "goals", "pass"]
    assert printed["goals"]["fast"] == [">=", 200_000]
    assert printed["pass"] is False
    assert printed["conditions"]["cores"] >= 1
    assert list(printed["conditions"]["versions"]) == ["pytest"]


def test_people_see_every_figure_with_its_goal(capsys: pytest.CaptureFixture[str]) -> None:
    assert report(FOUND, as_json=False) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "FAIL"
    assert [line.split() for line in lines[1:-1]] == [
        ["fast", "250,000", ">=", "200,000"],
        ["lost", "0", "==", "0"],
        ["share", "0.25", "<=", "0.2", "MISSED"],
        ["absent", "absent", "MISSED"],
    ]
    assert report(Measured("x", {}, {"a": 1}, {}), as_json=False) == 0
