"""The contracts that are shipped are what their sources compile to, and their typed data is what wallets sign.

Proves FR-660.
"""

import pytest

from chimera.commerce.vault.building import compiled
from chimera.commerce.vault.contracts import BUILT, SOURCES, built, source_of
from chimera.core.errors import ConfigError
from chimera.core.ids import digest


@pytest.mark.parametrize("name", SOURCES)
def test_the_shipped_bytecode_is_that_of_the_shipped_source(name: str) -> None:
    pytest.importorskip("vyper", reason="the compiler is a development dependency")
    assert compiled(name, source_of(name)) == built(name), "run python -m chimera.commerce.vault.building"


@pytest.mark.parametrize("name", SOURCES)
def test_another_source_is_noticed_without_a_compiler(name: str) -> None:
    assert built(name).source == digest(source_of(name))
    assert name in BUILT.read_text("utf-8")


def test_a_call_that_the_contract_does_not_have_is_refused() -> None:
    with pytest.raises(ConfigError):
        built("SpendVault").call("approve", "0x" + "11" * 20, 1)
    with pytest.raises(ConfigError):
        built("SpendVault").call("unlist")
    with pytest.raises(ConfigError):
        built("SpendVault").call("unlist", "not an address")
    with pytest.raises(ConfigError):
        built("Nothing")


def test_no_function_moves_money_but_pay_and_what_the_owner_made() -> None:
    """Whoever adds a function to the contract has to say here that it was looked at."""
    functions = {entry["name"] for entry in built("SpendVault").abi if entry["type"] == "function"}
    reads = {entry["name"] for entry in built("SpendVault").abi if entry.get("stateMutability") == "view"}
    assert functions - reads == {
        "pay", "pause", "unlist", "spoil", "revoke_policy", "lower", "drop", "schedule", "make",
    }  # fmt: skip
