"""How guessing is slowed down.

Proves FR-744: by address and by name, whether anybody has the name; and whoever has been let in before stays able to.
"""

from datetime import UTC, datetime

import pytest

from chimera.core.clock import ManualClock
from chimera.core.errors import LoginBusy
from chimera.guards.permissions.guessing import CLOSED, TRIES_AT_ONCE, Guessing, is_mark, mark_of


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(datetime(2026, 11, 20, tzinfo=UTC))


def taken(guessing: Guessing, address: str, most: int = 100) -> int:
    """How often an address may try at once."""
    for tries in range(most):
        try:
            guessing.admit(address)
        except LoginBusy:
            return tries
    return most


def test_an_address_has_so_many_tries_and_gets_them_back(clock: ManualClock) -> None:
    guessing = Guessing(clock)
    assert taken(guessing, "10.0.0.1") == TRIES_AT_ONCE
    with pytest.raises(LoginBusy) as busy:
        guessing.admit("10.0.0.1")
    assert busy.value.context["wait_s"] == pytest.approx(2)
    assert taken(guessing, "10.0.0.2") == TRIES_AT_ONCE
    clock.advance(4)
    assert taken(guessing, "10.0.0.1") == 2


def test_an_address_of_the_same_network_is_no_other(clock: ManualClock) -> None:
    guessing = Guessing(clock)
    assert taken(guessing, "2001:db8:1:2::1") == TRIES_AT_ONCE
    assert taken(guessing, "2001:db8:1:2:ffff::9") == 0
    assert taken(guessing, "2001:db8:1:3::1") == TRIES_AT_ONCE


def test_many_addresses_and_names_are_not_kept_for_ever(clock: ManualClock) -> None:
    guessing = Guessing(clock, kept=3)
    for number in range(10):
        guessing.admit(f"10.0.1.{number}")
        guessing.fail_unknown("default", str(number))
    assert len(vars(guessing)["_full"]) == len(vars(guessing)["_unknown"]) == 3


def test_the_door_of_nobody_shuts_as_anybody_s(clock: ManualClock) -> None:
    guessing = Guessing(clock)
    for closed in [*CLOSED, CLOSED[-1]]:
        guessing.pass_unknown("default", "nobody")
        guessing.fail_unknown("default", "nobody")
        if closed:
            with pytest.raises(LoginBusy) as busy:
                guessing.pass_unknown("default", "nobody")
            assert busy.value.context["wait_s"] == pytest.approx(closed.total_seconds())
            clock.advance(closed.total_seconds())
    guessing.pass_unknown("acme", "nobody")


def test_a_mark_is_of_one_person_and_one_password() -> None:
    mark = mark_of("default", "ada", "$argon2id$1")
    assert is_mark(mark, "default", "ada", "$argon2id$1")
    for tenant, name, hashed in (
        ("acme", "ada", "$argon2id$1"),
        ("default", "bob", "$argon2id$1"),
        ("default", "ada", "2"),
    ):
        assert not is_mark(mark, tenant, name, hashed)
    for wrong in ("", ".", "x", mark[:-1], f"x{mark}", mark.partition(".")[0], "é.é", mark + "0" * 100):
        assert not is_mark(wrong, "default", "ada", "$argon2id$1")
    assert mark != mark_of("default", "ada", "$argon2id$1")


def test_a_mark_has_so_many_tries_too(clock: ManualClock) -> None:
    guessing = Guessing(clock)
    for _ in range(6):
        guessing.admit_known("m")
    with pytest.raises(LoginBusy):
        guessing.admit_known("m")
    guessing.admit_known("n")
