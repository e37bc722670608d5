"""One place makes the messages that go to models, and everybody who asks a model gets them there.

Proves FR-153: outside of :mod:`chimera.core.spotlight` nothing of ours makes a message of a system, a human or a tool.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from chimera.nodes.prompts import all_prompts

PACKAGE = Path(__file__).resolve().parents[2] / "chimera"
HOME = "core/spotlight.py"
MADE = {"SystemMessage", "HumanMessage", "ToolMessage"}
ASKED = {"structured", "turn"}


Modules = dict[str, ast.Module]


@pytest.fixture(scope="module")
def modules() -> Modules:
    """The whole package, which takes a second to parse."""
    return {
        str(path.relative_to(PACKAGE)): ast.parse(path.read_text("utf-8")) for path in sorted(PACKAGE.rglob("*.py"))
    }


def called(tree: ast.Module) -> Iterator[ast.Call]:
    yield from (node for node in ast.walk(tree) if isinstance(node, ast.Call))


def name_of(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


def test_messages_to_models_are_made_in_one_module(modules: Modules) -> None:
    makers = {name for name, tree in modules.items() if any(name_of(call) in MADE for call in called(tree))}
    # The benchmark has the same work on LangGraph alone, as whoever does without Chimera would write it.
    assert makers == {HOME, "bench/fleet/plain.py"}


def test_whoever_asks_a_model_uses_it(modules: Modules) -> None:
    """The evaluation's own judge is no part of a mission."""
    askers = {
        name
        for name, tree in modules.items()
        for call in called(tree)
        if name_of(call) in ASKED and isinstance(call.func, ast.Attribute) and _is_models(call.func.value)
    }
    users = {name for name, tree in modules.items() if any(node.name == "Marks" for node in _imported(tree))}
    assert askers == {
        "commerce/cfo.py",
        "guards/extraction/extractor.py",
        "nodes/explain.py",
        "nodes/judge.py",
        "nodes/orchestrator.py",
        "nodes/planner.py",
        "nodes/worker.py",
    }
    assert askers <= users


def _is_models(value: ast.expr) -> bool:
    return (isinstance(value, ast.Attribute) and value.attr in ("models", "_models")) or (
        isinstance(value, ast.Name) and value.id == "models"
    )


def _imported(tree: ast.Module) -> Iterator[ast.alias]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            yield from node.names


def test_the_sentence_about_the_marks_is_a_prompt_that_does_not_leave() -> None:
    assert any("⟦data" in prompt for prompt in all_prompts())
    assert any("typed values" in prompt for prompt in all_prompts())
