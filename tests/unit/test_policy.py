"""The policy file: what it may say, and what every policy must. Proves FR-82."""

import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chimera.core.errors import PolicyInvalid
from chimera.core.settings import Settings
from chimera.guards.policy import registry
from chimera.guards.policy.document import REQUIRED, read_policy, shipped_policy
from chimera.guards.policy.registry import Parts, build_chains, makers
from chimera.guards.request import Edge

PARTS = Parts(Settings.model_validate({}))
TEXT = shipped_policy().text


def changed(old: str, new: str) -> str:
    assert old in TEXT
    return TEXT.replace(old, new, 1)


def test_the_shipped_policy_has_every_edge_and_every_guard_that_a_policy_needs() -> None:
    chains = build_chains(shipped_policy(), PARTS)
    assert set(REQUIRED) <= set(chains)
    for edge, needed in REQUIRED.items():
        assert needed <= {guard.rule for guard in chains[edge].guards}


def test_every_guard_is_named_as_its_rule() -> None:
    """Else a decision on the record would name a rule that nobody finds in the policy."""
    for name, maker in makers(PARTS).items():
        assert maker().rule == name


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("version = 1", "version = 2", "version"),
        ("version = 1", "version = ", "not TOML"),
        ('approval = "human"', 'approval = "nobody"', "changes.approval"),
        ('approval = "human"', 'approvals = "human"', "changes.approvals"),
        ("[edges.payment]", "[edges.payments]", "edges.payments"),
        ("deadline_s = 5.0", "deadline_s = 0", "deadline_s"),
        ("deadline_s = 5.0", "deadline_s = 86400", "deadline_s"),
        ('    "permission.tool",\n', "", "leaves out permission.tool"),
        ('    "flow.named-source",\n', "", "leaves out flow.named-source"),
        ('"text.hidden", "intake.goal"', '"text.hidden"', "leaves out intake.goal"),
        ('"text.hidden", "intake.goal"', '"intake.goal", "intake.goal"', "twice"),
        (
            'guards = ["payment.not-configured", "incident.quarantine", "text.hidden", "payment.decided"]',
            "guards = []",
            "edges.payment.guards",
        ),
    ],
)
def test_a_policy_with_an_error_is_refused_and_the_error_says_where(old: str, new: str, says: str) -> None:
    with pytest.raises(PolicyInvalid, match=says):
        read_policy(changed(old, new))


def test_a_policy_without_an_edge_is_refused() -> None:
    with pytest.raises(PolicyInvalid, match=r"edges\.output: is not there"):
        read_policy(TEXT[: TEXT.index("[edges.output]")])


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('"effect.destructive"', '"effect.constructive"', "there is no guard effect.constructive"),
        ('"effect.destructive"', '"plugin:absent"', "there is no guard plugin:absent"),
        ("[edges.intake]", '[guards."limit.arguments"]\nlimit = 5\n[edges.intake]', "limit.arguments"),
        ("[edges.intake]", '[guards."text.hidden"]\nmuch = true\n[edges.intake]', "text.hidden"),
    ],
)
def test_a_guard_that_there_is_not_or_that_takes_no_such_option_is_refused(old: str, new: str, says: str) -> None:
    with pytest.raises(PolicyInvalid, match=says):
        build_chains(read_policy(changed(old, new)), PARTS)


def test_options_of_a_guard_that_stands_nowhere_are_refused() -> None:
    with pytest.raises(PolicyInvalid, match="stands at no edge"):
        read_policy(TEXT + '\n[guards."limit.argument"]\nmax_bytes = 5\n')


def test_options_reach_their_guard() -> None:
    policy = read_policy(TEXT + '\n[guards."limit.arguments"]\nmax_bytes = 5\n')
    (guard,) = (
        found for found in build_chains(policy, PARTS)[Edge.TOOL_CALL].guards if found.rule == "limit.arguments"
    )
    assert vars(guard)["_max_bytes"] == 5


class OnlyOnMonday:
    """A guard of an installed package."""

    rule = "plugin:monday"

    def __init__(self, settings: Settings, *, hour: int = 9) -> None:
        self.hour = hour

    async def check(self, request: Any) -> None:
        return None


def test_a_guard_of_a_plug_in_stands_where_the_policy_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    class Entry:
        name = "monday"

        def load(self) -> Any:
            return OnlyOnMonday

    def installed(group: str) -> list[Entry]:
        return [Entry()] if group == "chimera.guards" else []

    monkeypatch.setattr(registry, "plugins", installed)
    text = changed('"effect.destructive"', '"plugin:monday"') + '\n[guards."plugin:monday"]\nhour = 10\n'
    guard = build_chains(read_policy(text), PARTS)[Edge.TOOL_CALL].guards[-1]
    assert isinstance(guard, OnlyOnMonday)
    assert guard.hour == 10


@given(st.text(max_size=400) | st.binary(max_size=400).map(lambda raw: raw.decode("utf-8", "replace")))
def test_no_text_breaks_the_reader(text: str) -> None:
    with pytest.raises(PolicyInvalid):
        read_policy(text)


@given(st.data())
def test_no_cut_or_splice_of_a_policy_loses_a_guard_that_every_policy_needs(data: st.DataObject) -> None:
    """Whatever is still read as a policy has them all."""
    start = data.draw(st.integers(0, len(TEXT)))
    end = data.draw(st.integers(start, len(TEXT)))
    text = TEXT[:start] + data.draw(st.sampled_from(["", "\n", '"', "[", "]", "x = 1\n"])) + TEXT[end:]
    try:
        policy = read_policy(text)
    except PolicyInvalid:
        return
    for edge, needed in REQUIRED.items():
        assert needed <= set(tomllib.loads(text)["edges"][edge]["guards"])
        assert policy.edges[edge].guards


@pytest.mark.parametrize(
    "text", ["[" * 100_000, "a = " + "[" * 50_000, "x" * 1_000_001, "\ud800", "a.b" * 10_000 + "=1"]
)
def test_what_is_too_deep_too_long_or_no_text_is_refused(text: str) -> None:
    with pytest.raises(PolicyInvalid):
        read_policy(text)
