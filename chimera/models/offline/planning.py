"""Planning by rules: take a goal apart, find a tool for each part by its description, fill it by its schema."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from chimera.core.lexical import Bm25, stems
from chimera.models.offline.filling import COMPOSE, Filled, fill, is_place, literals

MENTIONED = 0.30
"""The least share of a clause's meaning that a tool's description must mention."""

MENTIONED_BY_MANY = 0.45
"""The least product of that share and the number of words in common, which is enough as well."""

OWN_PART = 3
"""Words of meaning from which on a piece that no tool speaks of is a part of its own, not more of the one before."""

_SENTENCES = re.compile(r"(?<=[.!?;])\s+|\n+")
_JOINTS = re.compile(r",?\s+(?:and then|then|and)\s+", re.IGNORECASE)
_ITEM = re.compile(r"^\s*(?:\d+[.)]|[-*])\s+(.+)$", re.MULTILINE)


def split(request: dict[str, Any]) -> dict[str, Any]:
    """One team for each item of a list; one team for a goal that is no list."""
    items: list[str] = _ITEM.findall(str(request["goal"]))
    goals = items if len(items) > 1 else [str(request["goal"])]
    return {"teams": [{"name": f"team-{place}", "goal": goal} for place, goal in enumerate(goals[:100], 1)]}


def plan(request: dict[str, Any]) -> dict[str, Any]:
    """A task for each part of the goal that some tool's description covers; the other parts are named as unmet."""
    tools: list[dict[str, Any]] = request["tools"]
    index = Bm25([_fields(tool) for tool in tools])
    given: dict[str, str] = request.get("inputs") or {}
    named = [word for word in literals(str(request["goal"])) if is_place(word)]
    # A place that the goal names is an input like any other, for whichever part of the goal needs it.
    places = {**{f"place {number}": word for number, word in enumerate(named, 1)}, **given}
    tasks: list[dict[str, Any]] = []
    unmet: list[str] = []
    surest: list[float] = []
    for clause in _clauses(str(request["goal"]), index, tools):
        found = _best(clause, index, tools, refused=set(request.get("refused_tools") or []))
        if found is None:
            unmet.append(f"no tool covers: {clause}")
            continue
        tool, covered = found
        inputs = places
        if not tool.get("read_only"):  # what the user gave to read from is no place to write to
            inputs = {name: value for name, value in places.items() if not is_place(value)}
        filled = fill(tool["input_schema"], clause, inputs, may_compose=bool(tasks))
        if filled.missing:
            unmet.append(f"{tool['name']} needs {', '.join(filled.missing)} for: {clause}")
            continue
        tasks.append(_task(len(tasks) + 1, clause, tool, filled, tasks))
        surest.append(covered)
    used = {str(value) for task in tasks for filled in task["arguments"].values() for value in filled.values()}
    unmet += [
        f"nothing reads the input {name}" for name, value in given.items() if is_place(value) and value not in used
    ]
    whole = len(tasks) + len(unmet)
    confidence = round(sum(0.5 + 0.4 * covered for covered in surest) / whole, 2) if whole else 0.0
    return {
        "tasks": tasks,
        "unmet": unmet,
        "confidence": confidence,
        "rationale": "offline rules: words matched with tool descriptions, arguments filled by schema",
    }


def _fields(tool: Mapping[str, Any]) -> list[tuple[str, float]]:
    properties: dict[str, Any] = tool["input_schema"].get("properties") or {}
    words = " ".join(f"{name} {form.get('description', '')}" for name, form in properties.items())
    return [(str(tool["name"]), 2.0), (str(tool.get("description", "")), 1.0), (words, 0.5)]


def _clauses(goal: str, index: Bm25, tools: Sequence[Mapping[str, Any]]) -> list[str]:
    """The parts of a goal. A joint such as "and" divides only where its two sides want different tools."""
    parts: list[str] = []
    for sentence in _SENTENCES.split(goal):
        pieces = [piece for piece in _JOINTS.split(sentence.strip(" .!?;")) if stems(piece)]
        merged: list[str] = []
        for piece in pieces:
            # By rank alone: a part that hardly any tool covers is still a part of its own, and named as unmet.
            before = next(iter(index.ranked(_spoken(merged[-1]))), None) if merged else None
            here = next(iter(index.ranked(_spoken(piece))), None)
            continues = here is None and len(stems(piece)) < OWN_PART
            if merged and (continues or (before is not None and here is not None and before[0] == here[0])):
                merged[-1] = f"{merged[-1]} and {piece}"
            else:
                merged.append(piece)
        parts.extend(merged)
    return parts


def _best(
    clause: str, index: Bm25, tools: Sequence[Mapping[str, Any]], refused: set[str] | None = None
) -> tuple[Mapping[str, Any], float] | None:
    wanted = stems(_spoken(clause))
    for place, _ in index.ranked(_spoken(clause)):
        covered = index.coverage(wanted, place)
        # The longer a clause, the smaller the share that one description can mention.
        enough = covered >= MENTIONED or covered * index.shared(wanted, place) >= MENTIONED_BY_MANY
        if enough and tools[place]["name"] not in (refused or ()):
            return tools[place], covered
    return None


def _spoken(clause: str) -> str:
    """The clause without paths, URLs and quoted texts: they are material, and say nothing of what is to be done."""
    for literal in literals(clause):
        if is_place(literal) or f'"{literal}"' in clause:
            clause = clause.replace(literal, " ")
    return clause


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
        "arguments": {tool["name"]: filled.arguments},
        "criteria": criteria,
        "confidence": 0.6,
    }
