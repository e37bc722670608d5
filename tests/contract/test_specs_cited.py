"""Every clause of the specifications is proven by a test, or open with its reason.

Proves META-11. A test proves a clause when a docstring in its file says so: ``Proves FR-12.``, ``Proves FR-12 and
TR-3.``, ``Proves FR-12: the retries come first.`` The ids from that word to the next full stop or colon count.
"""

import ast
import functools
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from chimera.core import specs
from chimera.core.specs.clauses import CLAUSE_ID

TESTS = Path(__file__).resolve().parents[1]
PROVES = re.compile(r"\bProves\s+([^.:]*)")


def docstrings(source: str) -> Iterator[str]:
    """The docstrings of a test file: its own, and those of its classes and functions."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            yield ast.get_docstring(node) or ""


def proven(source: str) -> set[str]:
    """The ids that a test file claims to prove."""
    return {
        found for text in docstrings(source) for part in PROVES.findall(text) for found in CLAUSE_ID.findall(str(part))
    }


@functools.cache
def cited() -> dict[str, set[str]]:
    """The proven ids of every test file."""
    files = sorted(TESTS.rglob("test_*.py"))
    return {str(path.relative_to(TESTS)): proven(path.read_text("utf-8")) for path in files}


def test_every_clause_is_proven_or_open() -> None:
    known = set[str]().union(*cited().values())
    missing = [clause for clause in specs.clauses() if clause.open_reason is None and clause.id not in known]
    listed = "\n".join(f"{clause.id} ({clause.file.name}:{clause.line}) {clause.text[:90]}" for clause in missing)
    assert not missing, f"{len(missing)} clauses that no test proves and that are not open:\n{listed}"


def test_every_cited_clause_exists() -> None:
    known = {clause.id for clause in specs.clauses()}
    unknown = {file: sorted(ids - known) for file, ids in cited().items() if ids - known}
    assert unknown == {}


def test_open_clauses_give_a_reason_and_ids_are_used_once() -> None:
    clauses = specs.clauses()  # refuses an id that stands twice
    assert len({clause.id for clause in clauses}) == len(clauses) > 100
    assert all(clause.open_reason for clause in clauses if clause.open_reason is not None)


def test_the_laws_are_ten() -> None:
    laws = [clause.id for clause in specs.clauses() if clause.id.startswith("LAW-")]
    assert laws == [f"LAW-{number}" for number in range(1, 11)]


@pytest.mark.parametrize(
    ("source", "ids"),
    [
        ('"""Proves FR-12."""', {"FR-12"}),
        ('"""It works.\n\nProves FR-12, FR-13\nand LAW-2: all of it. See FR-1.\n"""', {"FR-12", "FR-13", "LAW-2"}),
        ('def test_a() -> None:\n    """Proves TR-3."""', {"TR-3"}),
        ('class TestA:\n    async def test_a(self) -> None:\n        """Proves OC-1."""', {"OC-1"}),
        ('# Proves FR-12.\ntext = "Proves FR-13."', set[str]()),
        ('"""Like FR-12, but not the same."""', set[str]()),
        ('"""Proves FR-012 and XFR-3 and fr-4."""', set[str]()),
    ],
)
def test_only_a_docstring_that_says_so_proves(source: str, ids: set[str]) -> None:
    assert proven(source) == ids
