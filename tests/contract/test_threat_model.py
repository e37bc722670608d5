"""The threat model names only what exists: its tests, its files, its risks and its rules.

Proves LAW-10: what is said about security can be checked where it is said.
"""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from chimera.store.audit.owasp import risk_of, risks

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "THREAT_MODEL.md").read_text("utf-8")
TEST = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")
FILE = re.compile(r"`((?:chimera|tests|specs|docs)/[^`:\s]+)`")
RULE = re.compile(r"`([a-z]+(?:\.[a-z-]+)+)`")


@cache
def functions(path: Path) -> frozenset[str]:
    """The functions of a test file, by name."""
    found = ast.walk(ast.parse(path.read_text("utf-8")))
    return frozenset(node.name for node in found if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)))


def missing_tests(text: str) -> list[str]:
    """The tests that a text names and that there are not."""
    named = sorted(set(TEST.findall(text)))
    assert named
    return [
        f"{file}::{name}"
        for file, name in named
        if not (name.startswith("test_") and (ROOT / file).is_file() and name in functions(ROOT / file))
    ]


def missing_files(text: str) -> list[str]:
    """The files that a text names or links to, and that there are not."""
    linked = [target for target in re.findall(r"\]\(([^)#]+)", text) if "://" not in target]
    return [name for name in sorted({*FILE.findall(text), *linked}) if not (ROOT / name).exists()]


def test_every_test_that_is_named_exists() -> None:
    assert missing_tests(TEXT) == []


def test_every_file_that_is_named_exists() -> None:
    assert missing_files(TEXT) == []


@pytest.mark.parametrize("risk", list(risks()))
def test_every_risk_has_a_row_with_controls_and_tests(risk: str) -> None:
    """A rule stands in the row of the risk that decisions are reported under."""
    (row,) = [line for line in TEXT.splitlines() if line.startswith(f"| {risk} {risks()[risk]} |")]
    assert TEST.search(row)
    rules = RULE.findall(row)
    assert rules
    assert {rule: risk_of(rule) for rule in rules} == dict.fromkeys(rules, risk)


@pytest.mark.parametrize("page", ["README.md", "SECURITY.md"])
def test_it_is_found_from_the_pages_that_speak_of_security(page: str) -> None:
    assert "](THREAT_MODEL.md)" in (ROOT / page).read_text("utf-8")


def test_what_is_gone_is_noticed() -> None:
    assert missing_tests("`tests/contract/test_threat_model.py::test_gone`") != []
    assert missing_tests("`tests/contract/test_gone.py::test_gone`") != []
    assert missing_files("`chimera/gone.py` and [a page](GONE.md)") == ["GONE.md", "chimera/gone.py"]
