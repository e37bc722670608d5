"""Rules and lists before anybody is asked: whom they stop, and that nothing is reserved or signed for those.

Proves FR-640, FR-641, FR-642 and FR-643, on a real database and on the published lists where they are there.
"""

import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from chimera.commerce.addresses import Lookalikes, checked_address, checksummed
from chimera.commerce.compliance import Compliance, load_lists
from chimera.commerce.findings import Finding
from chimera.commerce.intents import IntentState
from chimera.commerce.payees import odd_characters
from chimera.commerce.screening import Screening
from chimera.core.errors import ConflictError, InputError, ListStale, PayeeUnknown, StoreError
from chimera.store.postgres import fetch

if TYPE_CHECKING:
    from tests.integration.payments.conftest import Office  # noqa: TID251 - its type alone

S = IntentState
CHAIN = 31337
LAZARUS = "0x098B716B8Aaf21512996dC57EB0615e2383E2f96"


async def refused(office: "Office", rule: str, **fields: Any) -> None:
    intent = await office.desk.ledger.propose(office.asks(**fields))
    assert await office.desk.screen(intent.id) is S.REJECTED
    found = (await office.events("money.screened"))[-1]
    assert rule in [one["rule"] for one in found["findings"] if one["action"] == "reject"]
    await office.untouched(intent.id)


async def test_what_nothing_speaks_against_goes_on(office: "Office") -> None:
    intent = await office.desk.ledger.propose(office.asks())
    assert await office.desk.screen(intent.id) is S.SCREENED
    assert await office.desk.screen(intent.id) is S.SCREENED, "asked again, it is where it was"
    (found,) = await office.events("money.screened")
    assert (found["action"], found["payee"]["name"]) == ("note", "weather data")


async def test_an_address_without_its_checksum_is_refused(office: "Office") -> None:
    """An address in lower case would skip the checksum, and one wrong character would be paid."""
    right = checksummed("0x" + "cd" * 20)
    flipped = right[:-1] + ("d" if right[-1] != "d" else "e")
    for wrong in (
        right.lower(),
        "0x" + right[2:].upper(),
        right.swapcase().replace("X", "x", 1),
        flipped,
        "0x12",
        right + "0",
    ):
        with pytest.raises(InputError):
            checked_address(wrong)
    assert checked_address(right) == right
    await refused(office, "payment.address", payee=right.lower())


@pytest.mark.threat(31)
async def test_an_address_that_looks_like_a_known_one_is_refused(office: "Office") -> None:
    """Threat 31."""
    known = "0x" + "cd" * 20
    await refused(office, "payment.poisoned", payee=checksummed(known[:5] + "7" * 33 + known[-4:]))


@pytest.mark.threat(31)
def test_lookalikes_are_found_and_others_are_not() -> None:
    """Threat 31: 500 payees, each with a lookalike of 3 and 4 characters, and 5,000 addresses of nobody."""
    source = random.Random(1)
    known = [f"0x{source.getrandbits(160):040x}" for _ in range(500)]
    index = Lookalikes(known)
    poison = [f"{one[:5]}{source.getrandbits(132):033x}{one[-4:]}" for one in known]
    assert all(index.of(one) is not None for one in poison)
    assert not any(index.of(one) for one in known)
    assert sum(index.of(f"0x{source.getrandbits(160):040x}") is not None for _ in range(5_000)) <= 5


@pytest.mark.threat(32)
@pytest.mark.parametrize("name", ["wеather data", "weаthеr data", "ԝeather data"])
async def test_a_name_in_other_letters_is_nobody(office: "Office", name: str) -> None:
    """Threat 32: homoglyphs. A name means somebody only if it is that name."""
    assert odd_characters(name) is not None
    with pytest.raises(PayeeUnknown, match="looks like 'weather data'"):
        await office.desk.payees.named(office.tenant, name, CHAIN)
    with pytest.raises((InputError, ConflictError)):
        await office.payee(name, "ef" * 20)


async def test_names_mean_one_payee_or_nobody(office: "Office") -> None:
    payees = office.desk.payees
    assert (await payees.named(office.tenant, "  Weather   DATA ", CHAIN)).name == "weather data"
    for name in ("weather", "weather data inc", "service_provider"):
        with pytest.raises(PayeeUnknown):
            await payees.named(office.tenant, name, CHAIN)
    with pytest.raises(PayeeUnknown, match="is paid on 31337, and not on chain 1"):
        await payees.named(office.tenant, "weather data", 1)
    with pytest.raises(ConflictError, match="another address"):
        await office.payee("weather data", "ef" * 20)
    await office.payee("global", "ef" * 20)
    with pytest.raises(ConflictError, match="looks like the payee 'global'"):
        await office.payee("g1obal", "ee" * 20)
    assert odd_characters("Señor Müller & Söhne") is None


@pytest.mark.threat(12)
async def test_an_address_that_nobody_has_is_refused(office: "Office") -> None:
    """Threat 12, before the chain: whoever is not registered is not paid."""
    await refused(office, "payment.unlisted", payee=checksummed("0x" + "12" * 20))


async def test_where_the_policy_lets_humans_decide_about_unknown_addresses_they_do(office: "Office") -> None:
    office.with_policy(office.policy_of(unlisted=True))
    intent = await office.decided(office.asks(payee=checksummed("0x" + "12" * 20)))
    assert intent.state is S.ESCALATED


@pytest.mark.threat(35, 46)
async def test_another_asset_chain_or_policy_is_refused(office: "Office") -> None:
    """Threats 35 and 46: a token of the same name on no list of the operator's, and a policy edited in mid-flight."""
    await refused(office, "payment.asset", asset=office.coin.id, amount=1)
    await refused(office, "payment.policy", policy_version="older")
    with pytest.raises(InputError, match="is not on chain 1"):
        await office.desk.ledger.propose(office.asks(chain_id=1))
    intent = await office.desk.ledger.propose(office.asks())
    office.with_policy(office.policy_of(most_payments=99))
    assert await office.desk.screen(intent.id) is S.REJECTED


async def test_fees_above_the_policy_are_refused(office: "Office") -> None:
    await refused(office, "payment.fee", fee_cap=1)
    office.with_policy(office.policy_of(fee_assets={office.coin.id: 5}))
    await office.budget(100, office.coin)
    assert (await office.decided(office.asks(fee_cap=5))).state is S.APPROVED
    await refused(office, "payment.fee", fee_cap=6)


@pytest.mark.threat(33)
async def test_an_address_on_a_list_is_refused(office: "Office", lists_at: Callable[[str, str | None], Path]) -> None:
    """Threat 33: in whatever case the list writes it; which list it was is on the record, with its hash."""
    lists = load_lists(lists_at(("0x" + "CD" * 20 + "\n"), str(datetime.now(UTC).date())))
    office.with_policy(office.policy_of(production=False), lists=lists)
    await refused(office, "payment.listed-address")
    (found,) = await office.events("money.screened")
    assert (found["lists"], found["entries"]) == (lists.digest, 1)


@pytest.mark.threat(33)
@pytest.mark.parametrize("age", [None, 8, -1])
async def test_a_list_that_is_old_refuses_everything_in_production(
    office: "Office", lists_at: Callable[[str, str | None], Path], age: int | None
) -> None:
    """Threat 33: stale, of unknown age, or from tomorrow."""
    dated = None if age is None else str(datetime.now(UTC).date() - timedelta(days=age))
    lists = load_lists(lists_at("0x" + "99" * 20 + "\n", dated))
    screening = office.with_policy(office.policy_of(production=False), lists=lists).deciding.screening
    screened = await screening.screen(await office.desk.ledger.propose(office.asks()), office.desk.clock.now())
    assert [one.rule for one in screened.findings] == ["payment.lists"]
    strict = office.policy_of(production=True)
    strict_screening = Screening(
        strict, office.desk.payees, office.desk.ledger.assets, Compliance(lists, most_days=7, production=True)
    )
    intent = await office.desk.ledger.propose(office.asks(policy_version=strict.version))
    screened = await strict_screening.screen(intent, office.desk.clock.now())
    assert Finding("payment.lists", "reject", screened.findings[0].said) in screened.findings


def test_a_list_that_cannot_be_read_in_full_is_none(
    lists_at: Callable[[str, str | None], Path], tmp_path: Path
) -> None:
    for broken in ("", "0x12\n", "0x" + "ab" * 20 + "\nnot an address at all!\n"):
        with pytest.raises(ListStale):
            load_lists(lists_at(broken, None))
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(ListStale):
        load_lists(empty)
    with pytest.raises(ListStale):
        load_lists(lists_at("0x" + "ab" * 20, "yesterday"))


def test_the_published_lists_are_read(data: Path) -> None:
    """Every address of both sets, each found whatever its case."""
    lists = load_lists(data / "commerce" / "ofac", data / "commerce" / "forta")
    on_chain = {one for one in lists.found if one.startswith("0x")}
    assert len({one for one, file in lists.found.items() if one in on_chain and file.startswith("ofac")}) == 156
    assert len({one for one, file in lists.found.items() if one in on_chain and file.startswith("forta")}) >= 7_407
    assert lists.names(LAZARUS) == lists.names(LAZARUS.lower()) == "ofac/sanctioned_addresses_ETH.json"
    assert lists.dated is None, "the folder says nothing about its age, so it counts as too old"


@pytest.mark.threat(6, 46)
async def test_who_can_be_paid_is_nothing_that_a_running_installation_writes(office: "Office") -> None:
    """Threats 6 and 46: the connected role reads the payees; it changes them only by becoming the owner on purpose."""
    for statement in (
        "UPDATE payees SET address = 'x'",
        "INSERT INTO payees (tenant, name, chain_id, address, owner, added_by) VALUES ('t', 'x', 0, 'x', 'x', 'x')",
    ):
        with pytest.raises((StoreError, psycopg.Error)):
            await fetch(office.pool, statement)
