"""What the code behind a graph's node can reach, found without running it.

Followed are functions and what they name, close over and take as defaults; lambdas, partials, bound methods, decorated
functions, classes and objects that can be called, LangChain runnables and graphs. The standard library and installed
packages are not entered, except Chimera's own and the package that the node is from. A name that is put together at run
time is not found: this finds mistakes, and :class:`chimera.guards.effects.ToolListing` keeps the calling from the rest.
"""

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache, partial
from types import BuiltinFunctionType, CodeType, EllipsisType, FunctionType, MethodType, ModuleType, NoneType
from typing import Any, cast

from langchain_core.runnables import Runnable
from langchain_core.tools import BaseTool
from langgraph.pregel import Pregel

PORT_NAMES = frozenset({"effects", "Effects", "ApprovedCall", "ToolMesh", "MultiServerMCPClient", "call_tool", "payer"})
"""What code says that performs effects, or that opens a way to tools of its own."""

_LIBRARIES = ("site-packages", "dist-packages")
_HOLD_NOTHING = frozenset({NoneType, bool, int, float, complex, bytes, EllipsisType, BuiltinFunctionType})
_HOLD_PARTS = frozenset({list, tuple, set, frozenset})


@dataclass
class Reach:
    """What was found: names and texts that the code mentions, objects that call tools, graphs that it can run."""

    names: set[str] = field(default_factory=set[str])
    callers: set[str] = field(default_factory=set[str])
    graphs: list[Any] = field(default_factory=list[Any])

    def ports(self) -> list[str]:
        """The ways to tools, sorted; empty when there is none."""
        listed_and_called = {"tools", "call"} <= self.names
        return sorted({*(PORT_NAMES & self.names), *self.callers, *(["tools.call"] if listed_and_called else [])})


def reach(*things: Any) -> Reach:
    """What ``things`` (functions, runnables, classes, objects) can reach."""
    found = Reach()
    home = {"chimera", *(_top(getattr(_innermost(thing), "__module__", None)) for thing in things)}
    seen: dict[int, Any] = {}  # the objects themselves are kept, so that no id is used twice
    waiting = list(things)
    while waiting:
        thing = waiting.pop()
        kind = type(thing)  # what is met most goes first: graphs are walked whenever Chimera starts
        if kind in _HOLD_NOTHING or id(thing) in seen:
            continue
        if kind is str:
            found.names.add(thing)
            continue
        seen[id(thing)] = thing
        if kind is dict:
            waiting.extend(thing.values())
        elif kind in _HOLD_PARTS:
            waiting.extend(thing)
        else:
            waiting.extend(_parts(thing, found, home))
    return found


def _parts(thing: Any, found: Reach, home: set[str]) -> Iterator[Any]:
    """Note what a thing is, and give what it holds."""
    match thing:
        case str():
            found.names.add(thing)
        case CodeType():
            found.names.update(_said(thing))
        case FunctionType():
            if _is_followed(thing.__module__, home):
                yield from _of_function(thing)
        case MethodType():
            yield from (thing.__func__, thing.__self__)
        case partial():
            yield from (thing.func, thing.args, thing.keywords)
        case property():
            yield from (thing.fget, thing.fset)
        case staticmethod() | classmethod():
            yield thing.__func__
        case Mapping():
            yield from cast("Mapping[Any, Any]", thing).values()
        case list() | tuple() | set() | frozenset():
            yield from cast("tuple[Any, ...]", thing)
        case type():
            yield from _of_class(thing, home)
        case _:
            yield from _of_object(thing, found, home)


def _of_function(function: FunctionType) -> Iterator[Any]:
    yield function.__code__
    yield from (function.__defaults__, function.__kwdefaults__, vars(function).get("__wrapped__"))
    for cell in function.__closure__ or ():
        try:
            yield cell.cell_contents
        except ValueError:  # not filled yet
            continue
    names = _named(function.__code__)
    for name in names & function.__globals__.keys():
        value = function.__globals__[name]
        if isinstance(value, ModuleType):
            yield from (vars(value)[inner] for inner in names & vars(value).keys() if callable(vars(value)[inner]))
        else:
            yield value


def _of_class(kind: type, home: set[str]) -> Iterator[Any]:
    for base in kind.__mro__:
        if _is_followed(base.__module__, home):
            yield from vars(base).values()


def _of_object(thing: Any, found: Reach, home: set[str]) -> Iterator[Any]:
    kind: type = type(thing)
    if isinstance(thing, Pregel):
        found.graphs.append(thing)
    elif isinstance(thing, BaseTool) or all(callable(getattr(kind, name, None)) for name in ("capabilities", "call")):
        found.callers.add(kind.__name__)
    elif isinstance(thing, Runnable):
        yield from vars(thing).values()
        yield kind
    elif _is_followed(kind.__module__, home):
        yield kind
        yield from getattr(thing, "__dict__", {}).values()
        yield from (getattr(thing, slot, None) for base in kind.__mro__ for slot in vars(base).get("__slots__", ()))


@lru_cache(maxsize=20_000)
def _named(code: CodeType) -> frozenset[str]:
    """The names in a piece of code, and in the code inside of it."""
    inner = [constant for constant in code.co_consts if isinstance(constant, CodeType)]
    return frozenset(code.co_names).union(*map(_named, inner))


@lru_cache(maxsize=20_000)
def _said(code: CodeType) -> frozenset[str]:
    """Those names, and the texts: of what code holds, nothing else leads anywhere."""
    said, waiting = set(_named(code)), list[Any](code.co_consts)
    while waiting:
        constant = waiting.pop()
        if isinstance(constant, str):
            said.add(constant)
        elif isinstance(constant, tuple | frozenset):
            waiting.extend(cast("tuple[Any, ...]", constant))
        elif isinstance(constant, CodeType):
            said |= _said(constant)
    return frozenset(said)


def _innermost(thing: Any) -> Any:
    """The function of the user's inside LangGraph's and functools' wrappers."""
    while True:
        # First func: where only that was given, LangGraph wraps it in a function of LangChain's, as afunc.
        inner = getattr(thing, "func", None) or getattr(thing, "afunc", None) or getattr(thing, "__wrapped__", None)
        if inner is None:
            return thing if hasattr(thing, "__module__") else type(thing)
        thing = inner


def _top(module: str | None) -> str:
    return (module or "").partition(".")[0]


def _is_followed(module: str | None, home: set[str]) -> bool:
    return _top(module) in home or not _is_library(module or "")


@lru_cache(maxsize=10_000)
def _is_library(module: str) -> bool:
    if not module or _top(module) in sys.stdlib_module_names:
        return True
    file = getattr(sys.modules.get(module), "__file__", None) or ""
    return any(part in file for part in _LIBRARIES)
