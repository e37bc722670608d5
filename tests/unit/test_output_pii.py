"""Personal data of people whom the user did not name is masked, put before a human or allowed, by kind and country.

Proves FR-112.
"""

from collections.abc import Sequence
from typing import Any

import pytest

from chimera.core.contracts import Decision, Mission
from chimera.core.errors import PolicyInvalid
from chimera.guards.output.identities import Identity, identities
from chimera.guards.output.pii import PersonalData, find_pii
from chimera.guards.request import Edge, GuardRequest


async def decided(text: str, guard: PersonalData | None = None, **mission: Any) -> Decision | None:
    request = GuardRequest(edge=Edge.OUTPUT, payload={"answer": text}, mission=Mission(**mission) if mission else None)
    return await (guard or PersonalData()).check(request)


def kinds(text: str, regions: Sequence[str] = ()) -> list[str]:
    return [finding.rule for finding in find_pii(text, regions=regions)]


@pytest.mark.parametrize(
    ("text", "kind", "regions"),
    [
        ("write to jane.doe@corp.io today", "pii.email", ()),
        ("(jane@corp.io)", "pii.email", ()),
        ("[mail](mailto:jane@corp.io)", "pii.email", ()),
        ("`jane+list@mail.corp.io`", "pii.email", ()),
        ("+49 30 901820", "pii.phone", ()),
        ("+1 (415) 555-2671", "pii.phone", ()),
        ("+81-3-3272-0081", "pii.phone", ()),
        ("415-555-2671", "pii.phone", ("US",)),
        ("030 901820", "pii.phone", ("DE",)),
        ("tel. 030901820", "pii.phone", ("de",)),
        ("call me on 020 7946 0018", "pii.phone", ("GB",)),
        ("DE89 3704 0044 0532 0130 00", "pii.iban", ()),
        ("GB82WEST12345698765432", "pii.iban", ()),
        ("4111 1111 1111 1111", "pii.card", ()),
        ("5500-0000-0000-0004", "pii.card", ()),
        ("378282246310005", "pii.card", ()),
    ],
)
def test_each_kind_is_found(text: str, kind: str, regions: tuple[str, ...]) -> None:
    assert kinds(text, regions) == [kind]


@pytest.mark.parametrize("known", identities(), ids=lambda known: f"{known.country} {known.module} {bool(known.words)}")
async def test_identity_numbers_are_found_by_country(known: Identity) -> None:
    decision = await decided(f"It is {known.sample}, thank you.")
    assert decision is not None
    assert "pii.identity" in decision.rules
    assert "[identity removed]" in str(decision.payload)
    assert "pii.identity" not in kinds(known.near)


@pytest.mark.parametrize(
    "text",
    [
        "info@corp.io, git@github.com:org/repo, press@corp.io",
        "jane@example.com and joe@mail.example.org",
        "icon@2x.png, @pytest.mark.long, foo@1.2.3, @name",
        "from 2026-11-23 04:11 to 2026-11-24, 0.97-0.998, 10 000 000 posts",
        "https://social.example.org/status/4111111111111111",
        "version 156.0.8078.79, 1,234,567,890 bytes, 3.14159265358979",
        "SHA-256 b3f422203d2d4237288b481b8125535f09f06f3f63658f483961ff4e5c7bae03",
        "order 4111 1111 1111 1112",
        "DE89 3704 0044 0532 0130 01",
        "[trending_sample:162] [trending_sample:198]",
        "now 16, before 1.5, growth 10.67, score 6.99",
        "(2025-11-25) and (2026-08-15)",
        "ISBN 978-3-16-148410-0",
    ],
)
def test_dates_numbers_and_roles_are_nobodys(text: str) -> None:
    assert kinds(text, ("US", "DE", "GB")) == []


async def test_a_value_is_masked_and_the_rest_stays() -> None:
    decision = await decided("Ask jane@corp.io or +49 30 901820.")
    assert decision is not None
    assert decision.action == "edit"
    assert decision.payload == {"answer": "Ask [email removed] or [phone removed]."}
    assert "jane" not in " ".join(decision.reasons)


async def test_what_the_user_wrote_is_not_masked() -> None:
    told: dict[str, Any] = {
        "goal": "Write to Jane@Corp.io about +493090 1820",
        "inputs": {"account": "DE89370400440532013000"},
    }
    assert await decided("Sent to jane@corp.io, +49 30 901820, DE89 3704 0044 0532 0130 00.", **told) is None
    other = await decided("Sent to joe@corp.io.", **told)
    assert other is not None
    assert other.payload == {"answer": "Sent to [email removed]."}


async def test_the_policy_decides_by_kind() -> None:
    guard = PersonalData({"email": "allow", "card": "escalate"})
    assert await decided("jane@corp.io", guard) is None
    asked = await decided("jane@corp.io paid with 4111 1111 1111 1111 from +49 30 901820", guard)
    assert asked is not None
    assert asked.action == "escalate"
    assert asked.payload == {"answer": "jane@corp.io paid with 4111 1111 1111 1111 from [phone removed]"}


@pytest.mark.parametrize("policy", [{"email": "shout"}, {"shoe-size": "mask"}])
def test_a_policy_with_an_unknown_word_is_refused(policy: dict[str, str]) -> None:
    with pytest.raises(PolicyInvalid):
        PersonalData(policy)


def test_regions_narrow_the_identity_numbers() -> None:
    assert kinds("536-90-4399", ("US",)) == ["pii.identity"]
    assert kinds("536-90-4399", ("FR",)) == []
