"""RE2 never says that a pattern matches nowhere when it does, so that nothing is missed for speed. Proves FR-91."""

import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chimera.guards.injection.encodings import DECODERS
from chimera.guards.injection.fold import fold
from chimera.guards.injection.hints import Hints, for_re2
from chimera.guards.injection.rules import Rule, load_rules, rule_hints


def possible(pattern: str, text: str) -> bool:
    found = [
        Hints([pattern], worded=worded).possible(for_re2(text), ascii_only=text.isascii()) for worded in (False, True)
    ]
    assert found[0] == found[1], "both ways of looking see the same"
    return bool(found[0])


@pytest.mark.parametrize("rule", load_rules(), ids=lambda rule: rule.id)
def test_what_a_rule_matches_is_possible(rule: Rule) -> None:
    """On folded text, which is all that rules are tried on: it has no hidden characters."""
    letters = st.characters(codec="ascii" if rule.pattern.pattern.isascii() else "utf-8")

    @settings(
        max_examples=5, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True, database=None
    )
    @given(st.from_regex(rule.pattern, alphabet=letters), st.sampled_from(["", "é", " ж", "☃"]))
    def holds(matched: str, beside: str) -> None:
        text = fold(matched + beside).lower()
        if rule.pattern.search(text):
            assert load_rules().index(rule) in rule_hints().possible(for_re2(text), ascii_only=text.isascii())

    holds()


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        (r"\bstop\b", "é stop ü"),
        (r"\bgo\w{1,3}\b", "goéé"),
        (r"a[^.!?]{0,3}b", "a☃b"),
        (r"(?<!\w)ab(?!c)", "x ab d"),
        (r"x{2,3}y", "xxy"),
        ("[“«]w", "«w"),
    ],
)
def test_letters_and_signs_beyond_ascii_hide_nothing(pattern: str, text: str) -> None:
    assert re.search(pattern, text)
    assert possible(pattern, text)


def test_what_is_not_there_is_said_to_be_impossible() -> None:
    assert not possible(r"\bstop\b", "stopping")
    assert not possible(r"\bstop\b", "éstop")
    for worded in (False, True):
        assert Hints(["a", "b", "c"], worded=worded).possible(b"a c", ascii_only=True) == {0, 2}


@given(st.text(alphabet=st.sampled_from("aZ09+/=%&#;\\xu $@!.-\n\té7A Ignore".replace("Ignore", "iI")), max_size=120))
@settings(derandomize=True, database=None)
def test_no_decoder_finds_what_its_hint_excludes(text: str) -> None:
    for name, (hint, decoder) in DECODERS.items():
        if list(decoder(text)):
            assert possible(hint, text), name
