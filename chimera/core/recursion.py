"""Keeps Python's limit of recursion where it is, whatever a package sets on import.

``py_ecc`` (which ``eth_account`` imports) and ``eth`` (py-evm) set it to 100,000 and 10,240. With that, a schema or a
document of a stranger that is nested deeply enough overflows the stack and ends the process, where it was an exception.
"""

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

RAISE_IT = frozenset({"py_ecc", "eth"})


class _Keeper(MetaPathFinder):
    """Finds those packages as usual, and sets the limit back when one has been imported."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname not in RAISE_IT:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is None or spec.loader is None:
            return spec
        loader: Any = spec.loader
        run = loader.exec_module

        def exec_module(module: ModuleType) -> None:
            limit = sys.getrecursionlimit()
            try:
                run(module)
            finally:
                sys.setrecursionlimit(limit)

        loader.exec_module = exec_module
        return spec


def keep_recursion_limit() -> None:
    """Watch over imports from now on; asked again, nothing more happens."""
    if not any(isinstance(finder, _Keeper) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Keeper())
