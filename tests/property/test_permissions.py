"""The compiled table decides what Cedar decides, on policies and requests that hypothesis makes up.

Proves FR-97: the decision, the policies that made it and the policies that had no value are the same, for policies
within the table's part of the language and around it, for entities that lack attributes, and for values of any type.
"""

import json
import random
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chimera.core.errors import InputError
from chimera.guards.permissions.cedar import Cedar, json_form
from chimera.guards.permissions.policies import shipped_model, shipped_policies
from chimera.guards.permissions.ruling import UNREADABLE, Ruling
from chimera.guards.permissions.table import Table
from chimera.guards.permissions.values import Entity, Uid

ROLES = [Uid("Role", "worker"), Uid("Role", "work"), Uid("Role", "a:b"), Uid("Pool", "worker")]
PEOPLE = [Uid("Agent", "a"), Uid("Agent", "a:*"), Uid("Human", "a")]
THINGS = [Uid("Tool", "srv/x"), Uid("Tool", "*"), Uid("Pool", "worker")]
NAMES = ["n", "s", "b", "e", "l", "r"]
ACTIONS = {
    Uid("Action", "call"): frozenset({Uid("Action", "call"), Uid("Action", "any")}),
    Uid("Action", "pay"): frozenset({Uid("Action", "pay"), Uid("Action", "any")}),
    Uid("Action", "any"): frozenset({Uid("Action", "any")}),
}
EVERY_UID = [*ROLES, *PEOPLE, *THINGS, *ACTIONS]
TEXTS = ["", "a", "worker", "*", ":a", "é", "a\\b", 'q"q']
VARIABLES = ["principal", "action", "resource", "context"]
FOREIGN = [
    'context.s like "a*"',
    "context.n + 1 > 1",
    "if context.b then true else false",
    "{n: 1} == context.r",
    'ip("10.0.0.1").isLoopback()',
    "-context.n < 0",
]


def quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def written(value: Any) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case str():
            return quoted(value)
        case Uid():
            return f"{value.type}::{quoted(value.id)}"
        case _:
            return "[" + ", ".join(written(item) for item in value) + "]"


class Maker:
    """Policies and requests from a seed; small ranges, so that they often meet."""

    def __init__(self, seed: int, *, native: bool) -> None:
        self.pick = random.Random(seed)
        self.native = native

    def scalar(self) -> Any:
        kinds = [True, False, *range(-2, 4), 2**63 - 1, *TEXTS, self.pick.choice(EVERY_UID), self.pick.choice(PEOPLE)]
        return self.pick.choice(kinds)

    def value(self, depth: int = 2) -> Any:
        shape = self.pick.random() if depth else 0.0
        if shape < 0.7:
            return self.scalar()
        if shape < 0.85:
            return [self.value(depth - 1) for _ in range(self.pick.randrange(4))]
        return self.record(depth - 1)

    def record(self, depth: int = 2) -> dict[str, Any]:
        """Mostly what the names suggest (number, text, boolean and so on), sometimes anything, or nothing."""
        usual: dict[str, Any] = {
            "n": self.pick.randrange(-2, 4),
            "s": self.pick.choice(TEXTS),
            "b": self.pick.random() < 0.5,
            "e": self.pick.choice(EVERY_UID),
            "l": [self.scalar() for _ in range(self.pick.randrange(3))],
            "r": {"n": self.pick.randrange(3)},
        }
        chosen = {name: value for name, value in usual.items() if self.pick.random() < 0.85}
        return {name: self.value(depth) if self.pick.random() < 0.15 else value for name, value in chosen.items()}

    def literal(self) -> str:
        some = self.pick.choice([TEXTS, [self.scalar() for _ in range(3)], PEOPLE])
        return written(self.pick.choice([self.scalar(), self.scalar(), self.pick.sample(some, self.pick.randrange(4))]))

    def attribute(self) -> str:
        deep = ".n" if self.pick.random() < 0.1 else ""
        return f"{self.pick.choice(VARIABLES)}.{self.pick.choice(NAMES)}{deep}"

    def operand(self) -> str:
        return self.pick.choice([self.literal, self.attribute, self.attribute, lambda: self.pick.choice(VARIABLES)])()

    def atom(self) -> str:
        one, other, name = self.operand(), self.operand(), self.pick.choice(NAMES)
        uid = written(self.pick.choice(EVERY_UID))
        sets = self.pick.choice([self.attribute(), self.pick.choice(VARIABLES) + ".l", f"[{self.literal()}]"])
        method = self.pick.choice(["contains", "containsAll", "containsAny"])
        number = f"{self.pick.choice(VARIABLES)}.n {self.pick.choice(['<', '<=', '>', '>='])} {self.pick.randrange(4)}"
        forms = [
            number,
            number,
            f"{self.attribute()} {self.pick.choice(['<', '<=', '>', '>='])} {other}",
            f"{one} {self.pick.choice(['==', '!='])} {other}",
            f"{self.attribute()} == {self.literal()}",
            f"{self.pick.choice(VARIABLES)} in {uid}",
            f"{self.operand()} in {self.pick.choice([uid, other, f'[{uid}, {uid}]'])}",
            f"{self.pick.choice([self.attribute(), *VARIABLES])} has {name}",
            f"{self.pick.choice([self.attribute(), *VARIABLES])} is {self.pick.choice(['Agent', 'Tool', 'Human'])}",
            f"principal is Agent in {uid}",
            f"{self.pick.choice(VARIABLES)}.b",
            f"{sets}.{method}({other})",
            f"{sets}.isEmpty()",
            self.pick.choice(["true", "false"]),
        ]
        return self.pick.choice(forms if self.native else [*forms, *FOREIGN * 3])

    def expression(self, depth: int = 3) -> str:
        shape = self.pick.random() if depth else 0.0
        if shape < 0.5:
            return f"({self.atom()})"
        if shape < 0.6:
            return f"(!{self.expression(depth - 1)})"
        sign = "&&" if shape < 0.8 else "||"
        return f"({self.expression(depth - 1)} {sign} {self.expression(depth - 1)})"

    def head(self, variable: str, some: list[Uid]) -> str:
        uid, kind = written(self.pick.choice(some)), self.pick.choice(some).type
        forms = [f" == {uid}", f" in {uid}", f" in {uid}", f" is {kind}", f" is {kind} in {uid}"]
        return variable + (self.pick.choice(forms) if self.pick.random() < 0.6 else "")

    def policy(self) -> str:
        uids = [written(uid) for uid in ACTIONS]
        one, other = self.pick.choice(uids), self.pick.choice(uids)
        action = self.pick.choice(["action", f"action == {one}", f"action in {one}", f"action in [{one}, {other}]"])
        clauses = [
            f"{self.pick.choice(['when', 'when', 'unless'])} {{ {self.expression()} }}"
            for _ in range(self.pick.randrange(3))
        ]
        effect = self.pick.choice(["permit", "permit", "forbid"])
        who, what = self.head("principal", [*ROLES, *PEOPLE]), self.head("resource", [*THINGS, *ROLES, *PEOPLE])
        return f"{effect}({who}, {action}, {what}) {' '.join(clauses)};"

    def entity(self, some: list[Uid]) -> Entity:
        parents = self.pick.sample([*ROLES, *PEOPLE], self.pick.randrange(4))
        return Entity(self.pick.choice(some), self.record(), parents)

    def request(self) -> tuple[Entity, str, Entity, dict[str, Any]]:
        action = self.pick.choice([*(uid.id for uid in ACTIONS), "call", "other"])
        return self.entity(PEOPLE), action, self.entity([*THINGS, *PEOPLE]), self.record()


def engines(text: str) -> tuple[Table, Cedar]:
    form = json_form(text)["staticPolicies"]
    names = {place: place for place in form}
    cedar = Cedar(text, names, ACTIONS)
    return Table(form, names, ACTIONS, cedar), cedar


def same(answer: Ruling) -> tuple[Any, ...]:
    """What has to be equal; Cedar names the policies in no order."""
    return answer.allowed, sorted(answer.policies), sorted(answer.faulty), answer.reason


@given(seed=st.integers(0, 2**32))
def test_the_table_decides_what_cedar_decides(seed: int) -> None:
    """Proves FR-97, within the table's part of the language: nothing is left to Cedar, and all is the same."""
    make = Maker(seed, native=True)
    table, cedar = engines("\n".join(make.policy() for _ in range(make.pick.randrange(1, 6))))
    assert table.foreign == []
    for request in [make.request() for _ in range(10)]:
        answer = table.decide(*request)
        assert answer.engine == "native"
        assert same(answer) == same(cedar.decide(*request))


MODEL = shipped_model()
KINDS = json.loads(files("chimera.guards.permissions").joinpath("schema.json").read_text("utf-8"))[""]


class Asker:
    """Requests of the shipped schema from a seed: every action, by and about whomever it can be."""

    VALUES: Mapping[str, Sequence[Any]] = {
        "tenant": ["acme", "acme", "acme", "globex", "default", "default"],
        "threat": ["none", "low", "medium", "high", "critical", "mild"],
        "answer": ["approve", "reject", "edit", "maybe"],
        "kind": ["plan", "result", "give_up", "call", "other"],
        "point": ["security", "quality", "finance"],
        "amount": [0, 49, 100_000_000, 100_000_001, 2**63 - 1],
        "hour": [0, 5, 6, 12, 21, 22],
        "budget_left": [-1, 0, 1],
        "limit": [0, 49, 2**63 - 1],
        "reputation": [0, 19, 20, 29, 30, 100],
    }

    def __init__(self, seed: int) -> None:
        self.pick = random.Random(seed)

    def value(self, name: str, form: Mapping[str, Any]) -> Any:
        match form["type"]:
            case "Boolean":
                return self.pick.random() < 0.5
            case "Entity":
                return Uid(form["name"], self.pick.choice(["a", "b"]))
            case _:
                return self.pick.choice(self.VALUES.get(name, ["a", "b"]))

    def record(self, attributes: Mapping[str, Any]) -> dict[str, Any]:
        """What the schema wants, now and then without one of it."""
        wanted = {
            name: form for name, form in attributes.items() if form.get("required", True) or self.pick.random() < 0.7
        }
        return {name: self.value(name, form) for name, form in wanted.items() if self.pick.random() < 0.97}

    def entity(self, kind: str) -> Entity:
        roles = [Uid(f"{kind}Role", role) for role in MODEL.roles(kind) if self.pick.random() < 0.3]
        shape = KINDS["entityTypes"][kind]["shape"]["attributes"]
        return Entity(Uid(kind, self.pick.choice(["a", "b"])), self.record(shape), roles)

    def request(self, action: str) -> tuple[Entity, str, Entity, dict[str, Any]]:
        applies = KINDS["actions"][action]["appliesTo"]
        who, what = (self.entity(self.pick.choice(applies[f"{side}Types"])) for side in ("principal", "resource"))
        return who, action, what, self.record(applies["context"]["attributes"])


@given(seed=st.integers(0, 2**32))
def test_the_shipped_policies_decide_the_same_in_the_table(seed: int) -> None:
    """Proves FR-97 and FR-187, for every action that there is, those that people decide by included."""
    ask = Asker(seed)
    policies = shipped_policies()
    assert policies.table.foreign == []
    for action in KINDS["actions"]:
        request = ask.request(action)
        assert same(policies.table.decide(*request)) == same(policies.cedar.decide(*request)), request


def test_every_action_is_permitted_to_somebody_and_denied_to_somebody() -> None:
    """What is asked above meets both answers; an action that nobody may do is no action."""
    ask, found = Asker(20_261_123), dict[str, set[bool]]()
    for _ in range(1_500):  # each kind of who and what is met with every action
        for action in KINDS["actions"]:
            found.setdefault(action, set()).add(shipped_policies().table.decide(*ask.request(action)).allowed)
    assert {action for action, answers in found.items() if answers != {True, False}} == set()


@given(seed=st.integers(0, 2**32))
def test_what_the_table_does_not_understand_is_left_to_cedar(seed: int) -> None:
    """Proves FR-97, around it: an answer says who gave it, and it is Cedar's either way."""
    make = Maker(seed, native=False)
    table, cedar = engines("\n".join(make.policy() for _ in range(make.pick.randrange(1, 5))))
    for request in [make.request() for _ in range(5)]:
        answer = table.decide(*request)
        assert table.foreign or answer.engine == "native"
        assert same(answer) == same(cedar.decide(*request))


def test_a_group_of_actions_that_is_named_as_one_means_itself_alone() -> None:
    """Proves FR-97: ``==`` is not ``in``; the comparison above once found the table to be milder than Cedar here."""
    one = 'permit(principal, action == Action::"any", resource);'
    many = 'permit(principal, action in Action::"any", resource);'
    for text, expected in ((one, False), (many, True)):
        for engine in engines(text):
            assert engine.decide(Entity(PEOPLE[0]), "call", Entity(THINGS[0]), {}).allowed is expected
            assert engine.decide(Entity(PEOPLE[0]), "any", Entity(THINGS[0]), {}).allowed


def test_a_resource_hands_on_what_it_is_in() -> None:
    """Proves FR-97: a principal that is in the resource is in all that the resource is in; a circle is denied."""
    pool, tenant = THINGS[2], Uid("Role", "a:b")
    who, circle = Entity(PEOPLE[0], parents=[pool]), Entity(pool, parents=[PEOPLE[0]])
    for engine in engines('permit(principal in Role::"a:b", action, resource);'):
        assert not engine.decide(who, "call", Entity(pool), {}).allowed
        assert engine.decide(who, "call", Entity(pool, parents=[tenant]), {}).allowed
        assert engine.decide(who, "call", circle, {}).reason == UNREADABLE


ODD = [None, 1.5, 2**63, -(2**63) - 1, "\ud800", {"__entity": {"type": "Role", "id": "worker"}}, b"x", [None], object()]


@pytest.mark.parametrize("value", ODD, ids=[type(value).__name__ for value in ODD])
def test_a_value_that_cedar_cannot_read_denies(value: Any) -> None:
    """Proves FR-97: what Cedar could not be asked about is denied, even where every policy permits."""
    table, cedar = engines("permit(principal, action, resource);")
    who, what = Entity(PEOPLE[0]), Entity(THINGS[0])
    assert table.decide(who, "call", what, {"n": 1}).allowed
    for engine in (table, cedar):
        answer = engine.decide(who, "call", what, {"n": value})
        assert not answer.allowed
        assert answer.reason == UNREADABLE
    with pytest.raises(InputError):
        Entity(PEOPLE[0], {"n": value})


@given(name=st.text(max_size=8), other=st.text(max_size=8))
def test_names_are_compared_letter_by_letter(name: str, other: str) -> None:
    """Proves FR-97: no letter of a name is a wildcard, a separator or a pattern, in the table or in Cedar."""
    try:
        mine, theirs = Entity(Uid("Tool", name)), Entity(Uid("Tool", other))
    except InputError:
        return
    form: dict[str, Any] = {
        "effect": "permit",
        "principal": {"op": "All"},
        "action": {"op": "All"},
        "resource": {"op": "==", "entity": mine.uid.plain()},
        "conditions": [],
    }
    names = {"p": "p"}
    table = Table({"p": form}, names, ACTIONS, Cedar("", names, ACTIONS))
    who = Entity(PEOPLE[0])
    assert table.decide(who, "call", mine, {}).allowed
    assert table.decide(who, "call", theirs, {}).allowed is (name == other)
