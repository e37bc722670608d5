"""A real EVM in this process (py-evm through eth-tester), and a vault on it with everybody who has to do with it."""

from collections.abc import Generator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest
from eth_account import Account
from eth_tester import EthereumTester, PyEVMBackend
from eth_utils.address import to_checksum_address

from chimera.commerce.vault.approval import COIN, VaultPayment, policy_mark, typed_data
from chimera.commerce.vault.building import compiled
from chimera.commerce.vault.calls import Call, Change, Roles, Setting, VaultCalls, deployment
from chimera.commerce.vault.contracts import Built, built

GWEI = 10**9
DAY = 86_400
WINDOW = 24 * 600
DELAY = 3_600
PER_PAYMENT, PER_WINDOW = 1_000, 2_500
COIN_PER_PAYMENT, COIN_PER_WINDOW = 10**15, 2 * 10**15
FUNDS = 1_000_000
HERE = Path(__file__).parent


@dataclass(frozen=True)
class Done:
    """What came of a transaction. ``reason``: the contract's, when it refused. ``at``: the time of its block."""

    ok: bool
    reason: str
    at: int
    made: str
    gas: int


@dataclass(frozen=True)
class Person:
    """Somebody with a key that everybody knows."""

    address: str
    key: Any


class LocalEvm:
    """The EVM. Each transaction is a block of its own, at the time that it is told."""

    def __init__(self) -> None:
        self._backend: Any = PyEVMBackend()
        self.tester = EthereumTester(self._backend)
        keys = [key.to_bytes() for key in self._backend.account_keys]
        self.people = [Person(str(Account.from_key(key).address), key) for key in keys]

    @property
    def chain_id(self) -> int:
        return self._backend.chain.chain_id

    @property
    def now(self) -> int:
        """The earliest time of the next block."""
        return self._backend.chain.header.timestamp

    def send(
        self, sender: Person, to: str, data: bytes, *, value: int = 0, at: int | None = None, gas: int = 600_000
    ) -> Done:
        chain = self._backend.chain
        if at is not None:
            chain.set_header_timestamp(max(at, self.now))
        made = {
            "type": 2,
            "chainId": chain.chain_id,
            "nonce": self._backend.get_nonce(_bytes(sender.address)),
            "value": value,
            "data": data,
            "gas": gas if to else 6_000_000,
            "maxFeePerGas": GWEI,
            "maxPriorityFeePerGas": GWEI,
        }
        signed = Account.sign_transaction({**made, "to": to} if to else made, sender.key)
        transaction = chain.get_transaction_builder().decode(bytes(signed.raw_transaction))
        block, receipt, computation = chain.apply_transaction(transaction)
        self.tester.mine_block()
        address = to_checksum_address(computation.msg.storage_address)
        reason = _reason(computation.error) if computation.is_error else ""
        return Done(computation.is_success, reason, block.header.timestamp, str(address), receipt.gas_used)

    def deploy(self, owner: Person, code: bytes) -> str:
        done = self.send(owner, "", code)
        assert done.ok, done.reason
        return done.made

    def ask(self, to: str, data: bytes) -> bytes:
        asked = {"from": _bytes(self.people[0].address), "to": _bytes(to), "data": data, "value": 0}
        return bytes(self._backend.call(asked))

    def coins(self, address: str) -> int:
        return self._backend.get_balance(_bytes(address))

    def mark(self) -> Any:
        return self.tester.take_snapshot()

    def back(self, mark: Any) -> None:
        self.tester.revert_to_snapshot(mark)


class Scene:
    """A vault with an owner, an agent, a CFO, a guardian, two payees and a stranger, and a token that it has."""

    def __init__(self, evm: LocalEvm) -> None:
        self.evm = evm
        self.owner, self.agent, self.cfo, self.guardian, self.shop, self.other, self.stranger, *_ = evm.people
        self.token = self.deploy_token()
        roles = Roles(self.agent.address, self.cfo.address, self.guardian.address)
        settings = [Setting(self.token, PER_PAYMENT, PER_WINDOW), Setting(COIN, COIN_PER_PAYMENT, COIN_PER_WINDOW)]
        payees = [self.shop.address, self.other.address]
        self.calls = VaultCalls(evm.deploy(self.owner, deployment(roles, DELAY, WINDOW, settings, payees)))
        self.mint(self.token, self.calls.address)
        assert evm.send(self.stranger, self.calls.address, b"", value=10**17).ok
        self._intents = 0

    @cached_property
    def paid_token(self) -> Built:
        return built("PaidToken")

    def deploy_token(self) -> str:
        return self.evm.deploy(self.owner, self.paid_token.creation("Test dollar", "TUSD", "2", 6))

    def mint(self, token: str, to: str) -> None:
        assert self.evm.send(self.owner, token, self.paid_token.call("mint", to, FUNDS)).ok

    def payment(self, amount: int = 100, **fields: Any) -> VaultPayment:
        self._intents += 1
        made = VaultPayment(
            intent=self._intents.to_bytes(32, "big"),
            asset=self.token,
            payee=self.shop.address,
            amount=amount,
            fee_cap=10**15,
            policy=policy_mark("p1"),
            expiry=self.evm.now + 365 * DAY,
        )
        return replace(made, **fields)

    def sign(self, payment: VaultPayment, by: Person | None = None, **about: Any) -> bytes:
        known: dict[str, Any] = {"vault": self.calls.address, "chain_id": self.evm.chain_id} | about
        signer = by or self.cfo
        return bytes(Account.sign_typed_data(signer.key, full_message=typed_data(payment, **known)).signature)

    def pay(self, payment: VaultPayment, signature: bytes | None = None, by: Person | None = None, **how: Any) -> Done:
        call = self.calls.pay(payment, signature if signature is not None else self.sign(payment))
        return self.evm.send(by or self.agent, call.to, call.data, **how)

    def do(self, by: Person, call: Call, **how: Any) -> Done:
        return self.evm.send(by, call.to, call.data, **how)

    def change(self, change: Change) -> None:
        """Make a change, after its delay."""
        done = self.do(self.owner, self.calls.schedule(change))
        assert done.ok, done.reason
        made = self.do(self.owner, self.calls.make(change), at=done.at + DELAY)
        assert made.ok, made.reason

    def has(self, address: str, token: str | None = None) -> int:
        at = token or self.token
        return int.from_bytes(self.evm.ask(at, self.paid_token.call("balanceOf", address)), "big")

    def spent(self, asset: str) -> int:
        call = self.calls.spent(asset)
        return int.from_bytes(self.evm.ask(call.to, call.data), "big")


def odd(name: str) -> Built:
    """A badly behaved token, compiled for the test."""
    return compiled(name, (HERE / f"{name}.vy").read_text("utf-8"))


@pytest.fixture(scope="session")
def vault_evm() -> LocalEvm:
    return LocalEvm()


@pytest.fixture(scope="session")
def first_scene(vault_evm: LocalEvm) -> Scene:
    return Scene(vault_evm)


@pytest.fixture
def scene(first_scene: Scene) -> Generator[Scene]:
    """The vault as it was deployed; what a test does to it is undone."""
    mark = first_scene.evm.mark()
    yield first_scene
    first_scene.evm.back(mark)


@pytest.fixture
def odd_token(scene: Scene) -> tuple[Built, str]:
    made = odd("OddToken")
    return made, scene.evm.deploy(scene.owner, made.creation())


@pytest.fixture
def silent_token(scene: Scene) -> tuple[Built, str]:
    made = odd("SilentToken")
    return made, scene.evm.deploy(scene.owner, made.creation())


def _bytes(address: str) -> bytes:
    return bytes.fromhex(address[2:])


def _reason(error: Any) -> str:
    said = bytes(error.args[0]) if error.args and isinstance(error.args[0], bytes) else b""
    if said[:4] != bytes.fromhex("08c379a0"):
        return f"({type(error).__name__})"
    length = int.from_bytes(said[36:68], "big")
    return said[68 : 68 + length].decode()
