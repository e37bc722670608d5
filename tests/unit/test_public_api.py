"""The names that `import chimera` promises. Proves TR-31.

Every name can be reached, type checkers see the same names at the same places, and importing the package loads none of
the libraries behind them until a name is used.
"""

import ast
import json
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import chimera

HEAVY = ("langgraph", "langchain", "langchain_core", "pydantic", "psycopg", "redis", "mcp", "httpx", "chimera.core")
PROBE = """
import json, sys, time
before = set(sys.modules)
started = time.perf_counter()
import chimera
spent = time.perf_counter() - started
loaded = sorted(set(sys.modules) - before)
listed = set(chimera.__all__) <= set(dir(chimera))
chimera.Mission
print(json.dumps([spent, loaded, listed, "langgraph" in sys.modules, "pydantic" in sys.modules]))
"""


def described() -> dict[str, str]:
    """The public names as a type checker reads them, each with the module that it comes from."""
    tree = ast.parse(Path(chimera.__file__).read_text("utf-8"))
    (guarded,) = (node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")
    imports = [node for node in guarded.body if isinstance(node, ast.ImportFrom)]
    return {alias.name: str(node.module) for node in imports for alias in node.names}


def test_every_name_is_what_type_checkers_see() -> None:
    for name, module in described().items():
        assert getattr(chimera, name) is getattr(import_module(module), name)
    assert sorted(described()) == chimera.__all__


def test_unknown_names_are_unknown() -> None:
    assert not hasattr(chimera, "no_such_name")


def test_import_loads_nothing_until_a_name_is_used() -> None:
    printed = subprocess.run(
        [sys.executable, "-c", PROBE], capture_output=True, text=True, timeout=50, check=True
    ).stdout
    spent, loaded, listed, graphs, models = json.loads(printed)
    print(f"import chimera: {spent * 1000:.1f} ms, {len(loaded)} modules")
    assert listed
    assert [name for name in loaded if name.startswith(HEAVY)] == []
    assert (graphs, models) == (False, True), "a contract needs pydantic and no graph"
