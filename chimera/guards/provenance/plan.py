"""Which effects a request asks for: the plan that every later call is held against.

It is made of the user's request and of the list of tools, before anything untrusted is read, and of nothing else. A
tool is granted only if the request's own words ask for that verb and that thing, and only the best match for each
clause; "do what the list says" asks for nothing that is known yet, and grants nothing.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from chimera.core.forms import properties
from chimera.core.quantity import MANY, SEVERAL, how_often
from chimera.guards.provenance.asking import Asking
from chimera.guards.provenance.clauses import ACCOUNT, ADDRESS, LINK, Clause, clauses
from chimera.guards.provenance.lexicon import Lexicon, Sense, lexicon
from chimera.guards.provenance.wordset import wordset

_ENOUGH = 1.5
_GENERAL = wordset("add create make set get put update change do use new run start")
_PRONOUNS = wordset("it this that them these those him her me there")
_LINKING = wordset("to from in into of for with on at by")
_TOGETHER = wordset("them these those")
_PERSONS = wordset("him her them me everyone everybody someone anyone us")


@dataclass(frozen=True)
class ToolInfo:
    """What the planner may know of a tool."""

    name: str
    description: str = ""
    schema: Mapping[str, Any] = field(default_factory=dict[str, Any])
    effect: bool = True


@dataclass(frozen=True)
class Grant:
    """Leave to call one tool."""

    tool: str
    count: int
    arguments: frozenset[str]
    """The arguments that the request gives reason for; others may only repeat what the user wrote."""


@dataclass(frozen=True)
class ToolPlan:
    """All leave that a request gives. Tools that only read need none."""

    grants: Mapping[str, Grant] = field(default_factory=dict[str, Grant])

    def grant(self, tool: str) -> Grant | None:
        """The leave to call a tool, if there is one."""
        return self.grants.get(tool)

    @classmethod
    def of(cls, calls: Iterable[str], arguments: Mapping[str, Iterable[str]]) -> "ToolPlan":
        """A plan that somebody approved: each tool as often as it is named, with all of its arguments."""
        counts: dict[str, int] = {}
        for call in calls:
            counts[call] = counts.get(call, 0) + 1
        return cls({tool: Grant(tool, count, frozenset(arguments.get(tool, ()))) for tool, count in counts.items()})


@dataclass(frozen=True)
class _Tool:
    """A tool's name taken apart: what it does, to what."""

    info: ToolInfo
    verb: str
    head: frozenset[str]
    others: tuple[frozenset[str], ...]
    required: tuple[str, ...]
    arguments: Mapping[str, frozenset[str]]


def plan_from_request(request: str, tools: Sequence[ToolInfo]) -> ToolPlan:
    """The plan for a request, from its words and the tool list alone."""
    words = lexicon()
    effects = [_taken_apart(tool, words) for tool in tools if tool.effect]
    asking = Asking(request)
    counts: dict[str, int] = {}
    for clause in clauses(request, words):
        best = _best(clause, effects, words)
        for tool in best:
            counts[tool.info.name] = counts.get(tool.info.name, 0) + _count(clause, tool, asking)
    grants = {
        tool.info.name: Grant(
            tool.info.name, min(counts[tool.info.name], MANY), frozenset(_reasoned(tool, asking, words))
        )
        for tool in effects
        if tool.info.name in counts
    }
    return ToolPlan(grants)


def arguments_with_reason(words: str, tool: ToolInfo) -> frozenset[str]:
    """The arguments that a tool cannot do without, and those that some words (a request, a plan) speak of."""
    return frozenset(_reasoned(_taken_apart(tool, lexicon()), Asking(words), lexicon()))


def _taken_apart(tool: ToolInfo, words: Lexicon) -> _Tool:
    parts = [part for part in tool.name.rpartition("__")[2].replace("-", "_").lower().split("_") if part]
    verb, nouns = (parts[0], parts[1:]) if parts else ("", [])
    stop = next((place for place, part in enumerate(nouns) if part in _LINKING), len(nouns))
    main, beside = nouns[:stop], [part for part in nouns[stop:] if part not in _LINKING]
    if not main:
        main, beside = beside[:1], beside[1:]
    form = properties(tool.schema)
    required = tuple(name for name in tool.schema.get("required") or () if name in form)
    about = {name: _argument_classes(name, one, words) for name, one in form.items()}
    return _Tool(
        tool,
        verb,
        words.classes(main[-1]) if main else frozenset(),
        tuple(words.classes(part) for part in [*main[:-1], *beside]),
        required,
        about,
    )


def _argument_classes(name: str, form: Mapping[str, Any], words: Lexicon) -> frozenset[str]:
    parts = [part for part in name.lower().split("_") if part]
    found = frozenset(one for part in parts for one in words.classes(part))
    if {"recipient", "recipients", "cc", "bcc"} & set(parts):
        found |= {"person"}
    described = str(form.get("description", "")).lower()
    return found | ({"email"} if "email" in described and "address" in described else frozenset())


def _best(clause: Clause, tools: Sequence[_Tool], words: Lexicon) -> list[_Tool]:
    """The tools that fit a clause best; none if none fits well enough."""
    scored = [(_score(clause, tool, words), tool) for tool in tools]
    best = max((score for score, _ in scored), default=0.0)
    if best >= _ENOUGH:
        return [tool for score, tool in scored if score == best]
    return _only_one(clause, tools)


def _only_one(clause: Clause, tools: Sequence[_Tool]) -> list[_Tool]:
    """The one tool of exactly that verb, where the thing has a name that no lexicon knows: "cancel my yoga class"."""
    same_verb = [tool for tool in tools if tool.verb == clause.verb]
    for_me = bool(clause.words) and clause.words[0].lower() in ("me", "us")
    return same_verb if len(same_verb) == 1 and clause.verb not in _GENERAL and clause.words and not for_me else []


def _score(clause: Clause, tool: _Tool, words: Lexicon) -> float:
    senses = [sense for sense in words.senses if clause.verb in sense.says and tool.verb in sense.does]
    senses = [sense for sense in senses if _fits(sense, clause, tool)]
    if not senses and clause.verb != tool.verb:
        return 0.0
    own, around = _classes(clause.words, words), _classes(clause.sentence, words)
    back = _classes(clause.before, words) if _PRONOUNS & {word.lower() for word in clause.words} else frozenset[str]()
    if _mentions_person(clause.words):
        around, back = around - {"channel"}, back - {"channel"}  # "send it to Alice" is not for the channel before it
    head = 2.0 if own & tool.head else 1.0 if around & tool.head else 0.5 if back & tool.head else 0.0
    implied = any(sense.implied and sense.about & tool.head for sense in senses)
    if not head and not implied and not _stands_for_it(clause, tool):
        return 0.0
    score = 1.2 if clause.verb == tool.verb or (tool.verb == "create" and "new" in clause.words) else 1.0
    score += max(head, 1.5 if implied else 0.5 if not head else 0.0)
    for other in tool.others:
        missing = -0.4 if other & words.named else 0.0
        score += 0.8 if own & other else 0.4 if around & other else 0.2 if back & other else missing
    return score + _evidence(clause, tool, own, around | back)


def _fits(sense: Sense, clause: Clause, tool: _Tool) -> bool:
    first = clause.words[0].lower() if clause.words else ""
    if sense.not_me and first in ("me", "us"):
        return False
    if "person" in sense.about and not _mentions_person(clause.words):
        return False
    if sense.needs and sense.needs.isdisjoint(word.lower() for word in clause.words):
        return False
    return not sense.about or bool(sense.about & tool.head)


def _stands_for_it(clause: Clause, tool: _Tool) -> bool:
    """A pronoun stands for the thing: "send it to Alice"; then the receiver must tell the tool."""
    pronoun = bool({"it", "this", "that", "them", "these"} & {word.lower() for word in clause.words})
    if "money" in tool.head and ACCOUNT not in clause.words:
        return False
    return pronoun and any({"person", "channel"} & classes for classes in tool.arguments.values())


def _evidence(clause: Clause, tool: _Tool, own: frozenset[str], around: frozenset[str]) -> float:
    """What the clause has, or lacks, of the arguments that the tool cannot do without."""
    total = 0.0
    for name in tool.required:
        classes = tool.arguments.get(name, frozenset())
        if "channel" in classes:
            total += 0.6 if own & {"channel"} else 0.3 if around & {"channel"} else -0.6
        elif "link" in classes:
            total += 0.4 if LINK in clause.words else -0.4
        elif "person" in classes or "email" in classes:
            total += 0.4 if _mentions_person(clause.words) else 0.1 if _mentions_person(clause.sentence) else -0.2
    return total


def _mentions_person(words: Sequence[str]) -> bool:
    return any(
        word in (ADDRESS, ACCOUNT)
        or word.lower() in _PERSONS
        or "person" in lexicon().things.get(word.lower(), ())
        or (word[:1].isupper() and word != "I")
        for word in words
    )


def _classes(text: Sequence[str], words: Lexicon) -> frozenset[str]:
    return frozenset(one for word in text for one in words.classes(word))


def _count(clause: Clause, tool: _Tool, asking: Asking) -> int:
    lower = [word.lower() for word in clause.words]
    said = how_often(lower)
    known = lexicon().things
    names = [name for name in asking.proper_names if name.lower() not in known]
    spoken_of = names if _TOGETHER & set(lower) else [name for name in names if name in clause.words]
    addresses = lower.count(ADDRESS) + lower.count(ACCOUNT)
    classes = tool.head.union(*tool.others)
    plural = any(word.endswith("s") and word[:-1] in known and classes & known[word[:-1]] for word in lower)
    return max(said, min(len(spoken_of), MANY), addresses, SEVERAL if plural else 1)


def _reasoned(tool: _Tool, asking: Asking, words: Lexicon) -> Iterable[str]:
    """The arguments that the tool needs, and those of which the request speaks."""
    said = frozenset(one for word in asking.plain_words for one in words.classes(word))
    person = bool(asking.proper_names) or asking.gives("address") or bool(asking.plain_words & _PERSONS)
    for name, classes in tool.arguments.items():
        if name in ("cc", "bcc"):
            reason = name in asking.plain_words
        else:
            reason = bool(classes & said) or ("person" in classes and person)
        if reason or name in tool.required:
            yield name
