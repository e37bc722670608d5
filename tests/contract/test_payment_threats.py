"""Every known way to lose money has tests, by its number, and the list of them in the docs is true.

Proves FR-678: ``docs/payment-threats.md`` has each number once, names tests that exist and carry that number, and no
test carries a number that there is not.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[1]
LIST = TESTS.parent / "docs" / "payment-threats.md"
NUMBERS = range(1, 47)
ROW = re.compile(r"^\| (\d+) \| ([^|]+) \| ([^|]+) \| ([^|]+) \|$", re.MULTILINE)
NAME = re.compile(r"`([^`]+)`")


def numbers(source: str) -> dict[str, set[int]]:
    """The tests of a file that carry numbers of threats."""
    return {
        node.name: {int(ast.literal_eval(each)) for mark in marks(node) for each in mark.args}
        for node in ast.walk(ast.parse(source))
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and list(marks(node))
    }


def marks(node: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[ast.Call]:
    """The marks of a test that number threats; those of a function that pytest does not run count for nothing."""
    for each in node.decorator_list:
        if isinstance(each, ast.Call) and ast.unparse(each.func) == "pytest.mark.threat":
            assert node.name.startswith("test_"), node.name
            yield each


@pytest.fixture(scope="module")
def marked() -> dict[str, set[int]]:
    """The numbers of every test that carries some, by its name with that of its file."""
    return {
        f"{path.relative_to(TESTS).as_posix()}::{name}": found
        for path in sorted(TESTS.rglob("test_*.py"))
        if "pytest.mark.threat" in (source := path.read_text("utf-8"))
        for name, found in numbers(source).items()
    }


@pytest.fixture(scope="module")
def listed() -> list[tuple[int, list[str]]]:
    """The rows of the list: each number with the tests that it names."""
    return [(int(number), NAME.findall(tests)) for number, _, _, tests in ROW.findall(LIST.read_text("utf-8"))]


def test_the_list_has_every_number_once_with_tests(listed: list[tuple[int, list[str]]]) -> None:
    assert [number for number, _ in listed] == list(NUMBERS)
    assert [number for number, tests in listed if not tests] == []


def test_what_the_list_names_exists_and_carries_the_number(
    listed: list[tuple[int, list[str]]], marked: dict[str, set[int]]
) -> None:
    wrong = [(number, test) for number, tests in listed for test in tests if number not in marked.get(test, set())]
    assert wrong == []


def test_no_test_carries_another_number(marked: dict[str, set[int]]) -> None:
    assert {test: found - set(NUMBERS) for test, found in marked.items() if not found or found - set(NUMBERS)} == {}
