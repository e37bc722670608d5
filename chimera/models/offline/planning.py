"""Planning by rules: take a goal apart, find a tool for each part by its description, fill it by its schema."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from chimera.core.forms import properties
from chimera.core.lexical import Bm25, stems
from chimera.core.quantity import MANY, SEVERAL, how_often
from chimera.models.offline.filling import COMPOSE, Filled, fill
from chimera.models.offline.words import asked_for, is_place, literals, numbers, quoted, without

MENTIONED = 0.30
"""The least share of a clause's meaning that a tool's description must mention."""

MENTIONED_BY_MANY = 0.45
"""The least product of that share and the number of words in common, which is enough as well."""

SPOKEN_FOR = 0.5
"""From this share on, a description speaks of a clause's matter; below, it has to name what the clause asks for."""

OWN_PART = 3
"""Words of meaning from which on a piece that no tool speaks of is a part of its own, not more of the one before."""

GOAL_READ = 8_000

_SENTENCES = re.compile(r"(?<=[.!?;])\s+|\n+")
_JOINTS = re.compile(r",?\s(?:and then|then|and)\s", re.IGNORECASE)
_ITEM = re.compile(r"^[^\S\n]*(?:\d+[.)]|[-*])[^\S\n]+(.+)$", re.MULTILINE)


def split(request: dict[str, Any]) -> dict[str, Any]:
    """One team for each item of a list; one team for a goal that is no list."""
    items: list[str] = _ITEM.findall(str(request["goal"]))
    goals = items if len(items) > 1 else [str(request["goal"])]
    return {"teams": [{"name": f"team-{place}", "goal": goal} for place, goal in enumerate(goals[:100], 1)]}


def plan(request: dict[str, Any]) -> dict[str, Any]:
    """A task for each part of the goal that some tool's description covers; the other parts are named as unmet."""
    tools: list[dict[str, Any]] = request["tools"]
    index = Bm25([_fields(tool) for tool in tools])
    goal = str(request["goal"])[:GOAL_READ]
    given: dict[str, str] = request.get("inputs") or {}
    refused = set(request.get("refused_tools") or [])
    tasks: list[dict[str, Any]] = []
    unmet: list[str] = []
    surest: list[float] = []
    for clause in _clauses(goal, index, tools):
        choice = _choose(clause, goal, index, tools, given, refused, may_compose=bool(tasks))
        if choice is None:
            unmet.append(f"no tool covers: {clause}")
        elif choice.filled.missing:
            unmet.append(f"{choice.tool['name']} needs {', '.join(choice.filled.missing)} for: {clause}")
        else:
            tasks.append(_task(len(tasks) + 1, clause, choice.tool, choice.filled, tasks))
            surest.append(choice.covered)
    used = {str(value) for task in tasks for filled in task["arguments"].values() for value in filled.values()}
    unmet += [
        f"nothing reads the input {name}" for name, value in given.items() if is_place(value) and value not in used
    ]
    if not tasks and not unmet:
        unmet.append(f"no tool covers: {goal[:200]}")
    whole = len(tasks) + len(unmet)
    confidence = round(sum(0.5 + 0.4 * covered for covered in surest) / whole, 2) if whole else 0.0
    return {
        "tasks": tasks,
        "unmet": unmet,
        "confidence": confidence,
        "rationale": "offline rules: words matched with tool descriptions, arguments filled by schema",
    }


def _fields(tool: Mapping[str, Any]) -> list[tuple[str, float]]:
    forms = properties(tool["input_schema"])
    words = " ".join(f"{name} {form.get('description', '')}" for name, form in forms.items())
    return [(str(tool["name"]), 2.0), (str(tool.get("description", "")), 1.0), (words, 0.5)]


def _clauses(goal: str, index: Bm25, tools: Sequence[Mapping[str, Any]]) -> list[str]:
    """The parts of a goal. A joint such as "and" divides only where its two sides want different tools."""
    parts: list[str] = []
    for sentence in _SENTENCES.split(goal):
        pieces = [piece.strip() for piece in _JOINTS.split(sentence.strip(" .!?;")) if stems(piece)]
        merged: list[str] = []
        for piece in pieces:
            # By rank alone: a part that hardly any tool covers is still a part of its own, and named as unmet.
            before = next(iter(_ranked(merged[-1], index, tools)), None) if merged else None
            here = next(iter(_ranked(piece, index, tools)), None)
            said = [stem for stem in stems(_spoken(piece)) if not stem.isdigit()]
            continues = not said or (here is None and len(said) < OWN_PART)
            if merged and (continues or (here is not None and before == here)):
                merged[-1] = f"{merged[-1]} and {piece}"
            else:
                merged.append(piece)
        parts.extend(merged)
    return parts


@dataclass(frozen=True)
class _Choice:
    """A tool for a clause, its arguments, and how much of what the clause wants its description covers."""

    tool: Mapping[str, Any]
    filled: Filled
    covered: float


def _choose(
    clause: str,
    goal: str,
    index: Bm25,
    tools: Sequence[Mapping[str, Any]],
    given: Mapping[str, str],
    refused: set[str],
    *,
    may_compose: bool,
) -> _Choice | None:
    """The best tool; of those of its kind that cover the clause as well, the first whose arguments can be filled."""
    best: _Choice | None = None
    for place in _ranked(clause, index, tools):
        tool = tools[place]
        if tool["name"] in refused:
            continue
        # What the user gave to read from is no place to write to.
        inputs = {name: value for name, value in given.items() if tool.get("read_only") or not is_place(value)}
        places = [word for word in literals(goal) if is_place(word) and tool.get("read_only")]
        said = f"{tool['name']} {tool.get('description', '')}"
        filled = fill(tool["input_schema"], clause, inputs, places=places, said=said, may_compose=True)
        composes = COMPOSE in filled.arguments.values()
        if composes and not may_compose:
            filled = fill(tool["input_schema"], clause, inputs, places=places, said=said, may_compose=False)
        # A word that became an argument is material; whether the tool is the right one is for the others to say.
        left = without(_spoken(clause), filled.taken)
        covered = index.coverage(stems(left), place)
        # The longer a clause, the smaller the share that one description can mention.
        if covered < MENTIONED and covered * index.shared(stems(left), place) < MENTIONED_BY_MANY:
            continue
        # Who writes down what was found may call it anything.
        if covered < SPOKEN_FOR and not composes and not _does(tool, left, index, place):
            continue
        if best is None:
            best = _Choice(tool, filled, covered)
        alike = bool(tool.get("read_only")) == bool(best.tool.get("read_only"))  # to look is no stand-in for to do
        if not filled.missing and alike and covered >= best.covered:
            return _Choice(tool, filled, covered)
    return best


def _does(tool: Mapping[str, Any], clause: str, index: Bm25, place: int) -> bool:
    """Whether a tool speaks of the thing that a clause asks for, and if it may change something, of the deed too."""
    verb, head = (stems(word) for word in asked_for(clause))
    speaks_of_thing = not head or index.shared(head, place) > 0
    is_meant = bool(tool.get("read_only")) or _named(tool, clause) == 1
    return speaks_of_thing and (is_meant or index.shared(verb, place) > 0)


def _named(tool: Mapping[str, Any], clause: str) -> float:
    """The share of a tool's own name that a clause says."""
    own = set(stems(str(tool["name"]).partition("__")[2]))
    return len(own & set(stems(clause))) / len(own) if own else 0.0


def _ranked(clause: str, index: Bm25, tools: Sequence[Mapping[str, Any]]) -> list[int]:
    """The tools that share a word with the clause, best first.

    Of tools that speak of the same things, the one whose own name the clause says in full is meant.
    """
    found = [(score * (1 + _named(tools[place], clause)), place) for place, score in index.ranked(_spoken(clause))]
    return [place for _, place in sorted(found, key=lambda pair: (-pair[0], pair[1]))]


def _spoken(clause: str) -> str:
    """The clause without paths, URLs and quoted texts: they are material, and say nothing of what is to be done."""
    return without(clause, [*quoted(clause), *(word for word in literals(clause) if is_place(word))])


def _task(
    number: int, clause: str, tool: Mapping[str, Any], filled: Filled, before: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    composes = COMPOSE in filled.arguments.values()
    criteria = [{"kind": "nonempty"}]
    if composes or tool.get("read_only"):  # a deed is not a claim, and leaves nothing to cite
        criteria.append({"kind": "cited"})
    if composes:
        criteria.append({"kind": "artifact"})
    return {
        "id": f"t{number}",
        "title": clause[:200],
        "instruction": clause,
        "depends_on": [task["id"] for task in before] if composes else [],
        "tools": [tool["name"]],
        "limits": {} if tool.get("read_only") else {tool["name"]: 1 if composes else _how_often(clause, tool, filled)},
        "arguments": {tool["name"]: filled.arguments},
        "criteria": criteria,
        "confidence": 0.6,
    }


def _how_often(clause: str, tool: Mapping[str, Any], filled: Filled) -> int:
    """How often a clause asks for what a tool does: by a number, by "all" or "every", or by the plural of its things.

    A number that became an argument is no number of times.
    """
    left = without(_spoken(clause), filled.taken)
    own = str(tool["name"]).partition("__")[2]
    things = set(stems(own)[1:] or stems(own))
    counted = [int(text) for text, near in numbers(left) if text.isdigit() and near & things]
    words = re.findall(r"[^\W\d_]+", left.lower())
    plural = any(word.endswith("s") and word not in own.lower() and set(stems(word)) & things for word in words)
    said = max([how_often(words), *counted])
    return SEVERAL if plural and said == 1 else min(said, MANY)
