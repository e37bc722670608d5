"""Nobody reaches a model but through the one place where requests pass the guards of ``model_input``.

Proves FR-402 for code that is still to be written: a new caller that goes around it fails here.
"""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "chimera"
CALLS = "models/calls.py"
ASKING = {"ainvoke", "invoke", "astream", "stream", "agenerate", "generate", "abatch", "batch", "apredict", "predict"}
SHORT = {"said_by", "_agenerate_with_cache"}
BINDING = {"bind_tools", "with_structured_output"}
MAKING = {"choose_model", "init_chat_model"}
PRIVATE = {"_try", "_model", "_built", "_given", "_prepared", "_gate"}
NO_MISSION = {
    "cli/checks.py",  # `doctor` asks a model for the word "ready"
    "cli/commands/run.py",  # sets one up to see whether it can be, and asks nothing
    "evals/graded.py",  # the evaluation's own judge
    "evals/opinions.py",
}
BY_GATE = {CALLS, "models/asking.py", "models/choose.py", "models/forms.py"}
"""The one that asks, the short way in which it does, and the two that it makes models ready with."""
_STEPPING = frozenset({"ainvoke", "astream"})
HOMONYMS = {
    **dict.fromkeys(["fleet/dispatch.py", "fleet/lean/runner.py", "fleet/lean/task.py"], _STEPPING),
    **dict.fromkeys(["swarm/driving.py", "swarm/swarm.py", "swarm/commerce.py"], _STEPPING),
    "tools/discovery/ranking.py": frozenset({"predict"}),
    "sync.py": frozenset({"stream"}),
    "store/audit/signing.py": frozenset({"generate"}),
    "commerce/x402/asking.py": frozenset({"stream"}),
}
"""These run graphs, tell of events, make keys, rank tools and read answers of sellers by methods of the same names."""


Modules = dict[str, ast.Module]


@pytest.fixture(scope="module")
def modules() -> Modules:
    """All of the package but the benchmarks, which ask stand-ins and take no part in a mission."""
    return {
        str(path.relative_to(PACKAGE)): ast.parse(path.read_text("utf-8"))
        for path in sorted(PACKAGE.rglob("*.py"))
        if path.relative_to(PACKAGE).parts[0] != "bench"
    }


def around(name: str, tree: ast.Module) -> list[str]:
    """How a module gets at models other than by asking :class:`Models`."""
    found: list[str] = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call | ast.Attribute):
            continue
        called = _name(node.func) if isinstance(node, ast.Call) else ""
        asking = ASKING - HOMONYMS.get(name, frozenset())
        if (called in asking and _is_method(node)) or called in SHORT | BINDING | MAKING:
            found.append(f"{name}:{node.lineno} {called}")
        elif isinstance(node, ast.Attribute) and node.attr in PRIVATE and _is_models(node.value):
            found.append(f"{name}:{node.lineno} {node.attr}")
    return found


def _name(func: ast.expr) -> str:
    return func.attr if isinstance(func, ast.Attribute) else func.id if isinstance(func, ast.Name) else ""


def _is_method(node: ast.AST) -> bool:
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
        return False
    return not (isinstance(node.func.value, ast.Call) and _name(node.func.value.func) == "super")


def _is_models(value: ast.expr) -> bool:
    return _name(value) in ("models", "_models")


def test_nobody_asks_a_model_but_through_the_gate(modules: Modules) -> None:
    others = {name: tree for name, tree in modules.items() if name not in BY_GATE | NO_MISSION}
    assert [way for name, tree in others.items() for way in around(name, tree)] == []


@pytest.mark.parametrize(
    "code",
    [
        "await choose_model('openai:x', settings).ainvoke(messages)",
        "await self._chat.ainvoke(messages)",
        "await model.bind_tools(tools).ainvoke(messages)",
        "model.with_structured_output(Form)",
        "async for part in chat.astream(messages): pass",
        "await context.models._model('judge', 'x').ainvoke(messages)",
        "await self._models._try(caller, sent, ask)",
        "context.models._gate = None",
        "await said_by(model, messages)",
        "await model._agenerate_with_cache(messages)",
    ],
)
def test_a_new_caller_that_goes_around_it_is_found(code: str) -> None:
    assert around("nodes/new.py", ast.parse(f"async def new():\n    {code}"))


def test_inside_of_it_the_gate_comes_first(modules: Modules) -> None:
    """Models are invoked in the functions that ``_try`` is handed; before anything else, it waits for the gate."""
    tree = modules[CALLS]
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.AsyncFunctionDef)]
    invoking = {node.name for node in functions for part in ast.walk(node) if _invokes(part)}
    assert invoking == {"structured", "turn", "ask"}
    assert [node.name for node in functions if node.name == "ask"] == ["ask", "ask"]
    callers = {node.name for node in functions for part in ast.walk(node) if _calls(part, "ask")}
    assert callers == {"_try"}
    (trying,) = [node for node in functions if node.name == "_try"]
    waits = [node for node in ast.walk(trying) if isinstance(node, ast.Await)]
    first = min(waits, key=lambda node: node.lineno)
    assert ast.unparse(first.value) == "self._gate.passed(caller, asked)"
    asks = [node for node in ast.walk(trying) if _calls(node, "ask")]
    assert [ast.unparse(node) for node in asks] == ["ask(model, sent)"], "what was let through, and not what was asked"
    assert sum(_calls(node, "passed") for node in ast.walk(trying)) == 1


def _invokes(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and _name(node.func) in ASKING | SHORT


def _calls(node: ast.AST, name: str) -> bool:
    return isinstance(node, ast.Call) and _name(node.func) == name


def test_models_are_set_up_with_the_guards_before_them(modules: Modules) -> None:
    """One place makes them for missions; the gate is a parameter that cannot be left out."""
    made = {
        name: [ast.unparse(keyword.value) for keyword in node.keywords if keyword.arg == "gate"]
        for name, tree in modules.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Models"
    }
    assert made == {"app.py": ["ModelInput(gateway)"], CALLS: ["self._gate"]}


def test_one_module_asks_about_the_edge(modules: Modules) -> None:
    askers = {
        name
        for name, tree in modules.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.keyword) and ast.unparse(node) == "edge=Edge.MODEL_INPUT"
    }
    assert askers == {"guards/asking.py"}
