"""The planner's words: by which verbs people ask for which effects, and what things are called."""

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib import resources

from chimera.core.lexical import stems


@dataclass(frozen=True)
class Sense:
    """One meaning of some verbs."""

    says: frozenset[str]
    does: frozenset[str]
    about: frozenset[str]
    needs: frozenset[str]
    """Words of which one must stand in the clause."""
    not_me: bool
    implied: bool
    """Whether the verb alone says what it is about."""


@dataclass(frozen=True)
class Lexicon:
    """All words."""

    senses: tuple[Sense, ...]
    verbs: frozenset[str]
    """Every verb that opens a clause, those of reading included."""
    things: dict[str, frozenset[str]]
    named: frozenset[str]
    """The classes of things."""

    def classes(self, word: str) -> frozenset[str]:
        """What a noun may stand for; one that nobody listed stands for itself, by its stem."""
        found = self.things.get(word.lower())
        if found:
            return found
        stem = stems(word)
        return frozenset(stem[:1])


@cache
def lexicon() -> Lexicon:
    """The lexicon that ships with the package."""
    found = tomllib.loads((resources.files("chimera.guards.provenance") / "lexicon.toml").read_text("utf-8"))
    senses = tuple(
        Sense(
            frozenset(one["says"]),
            frozenset(one["does"]),
            frozenset(one.get("about", ())),
            frozenset(one.get("with", ())),
            one.get("not_me", False),
            one.get("implied", False),
        )
        for one in found["sense"]
    )
    things: dict[str, set[str]] = {}
    for name, words in found["things"].items():
        for word in words:
            things.setdefault(word, set()).add(name)
    verbs = frozenset(word for sense in senses for word in sense.says) | frozenset(found["reading"]["says"])
    return Lexicon(
        senses, verbs, {word: frozenset(names) for word, names in things.items()}, frozenset(found["things"])
    )
