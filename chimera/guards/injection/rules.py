"""The reviewed patterns and cue words, read once from the files beside this module, and matched in linear time."""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, cast

from chimera.guards.injection.hints import Hints, for_re2

MAX_MATCHES = 64
"""Matches kept of one rule in one text."""

_TOKEN = re.compile(r"[a-z0-9_'\-]+")
_WRAP = re.compile(r"\n(?<=[a-z,]\n)(?=[a-z])")  # the line break first: that is what is looked for


@dataclass(frozen=True, slots=True)
class Rule:
    """One pattern with what a reviewer needs to judge it; see the head of rules.toml for the fields."""

    id: str
    reason: str
    asi: str
    weight: float
    foreign: bool
    anchors: frozenset[str]
    pattern: re.Pattern[str]
    attack: str
    benign: str


@dataclass(frozen=True, slots=True)
class Match:
    """A place (start, end) of a text where the rule with this index matched."""

    rule: int
    start: int
    end: int


@cache
def load_rules() -> tuple[Rule, ...]:
    """Every rule, in the order of the file."""
    return tuple(_rule(entry) for entry in _read("rules.toml")["rule"])


@cache
def load_cues() -> Mapping[str, tuple[str, ...]]:
    """The words of each cue, in the order of the file."""
    return {name: tuple(str(words).split()) for name, words in _read("cues.toml")["cues"].items()}


def match_rules(lowered: str) -> list[Match]:
    """Where the rules match in a lower-case, folded text; a rule without any of its anchors there is not tried."""
    unwrapped = _WRAP.sub(" ", lowered) if "\n" in lowered else lowered
    possible = rule_hints().possible(for_re2(unwrapped), ascii_only=unwrapped.isascii())
    words = set(_TOKEN.findall(lowered)) if possible else ()
    found: list[Match] = []
    for at in sorted(possible):
        rule = load_rules()[at]
        if rule.anchors and rule.anchors.isdisjoint(words):
            continue
        for count, match in enumerate(rule.pattern.finditer(unwrapped)):
            if count == MAX_MATCHES:
                break
            found.append(Match(at, match.start(), match.end()))
    return found


@cache
def rule_hints() -> Hints:
    """Which rules can match in a text, by their place in the file."""
    return Hints([rule.pattern.pattern for rule in load_rules()], worded=True)


def _rule(entry: Mapping[str, Any]) -> Rule:
    return Rule(
        id=entry["id"],
        reason=entry["reason"],
        asi=entry["asi"],
        weight=float(entry["weight"]),
        foreign=bool(entry.get("foreign", False)),
        anchors=frozenset(cast("list[str]", entry["anchors"])),
        pattern=re.compile(entry["pattern"]),
        attack=entry["attack"],
        benign=entry["benign"],
    )


def _read(name: str) -> dict[str, Any]:
    return tomllib.loads((files(__package__ or __name__) / name).read_text("utf-8"))
