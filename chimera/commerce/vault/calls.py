"""Calls of a vault: what is sent to it, what it answers, and what its refusals mean.

Nothing here has a key or a connection: a call is an address and bytes, and whoever signs transactions signs it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

from chimera.commerce.vault.approval import COIN, VaultPayment, signature_parts
from chimera.commerce.vault.contracts import built
from chimera.core.errors import VaultRefused

CONTRACT = "SpendVault"
REFUSALS = {
    "agent": "only the vault's agent pays out of it",
    "paused": "the vault is paused",
    "expired": "the approval has expired",
    "replay": "the approval was used before, or was used up without paying",
    "policy": "the approval is of a version of the policy that was revoked",
    "payee": "the payee is not on the vault's list",
    "amount": "nothing is paid",
    "fee": "the transaction could cost more than the fee that was approved",
    "cfo": "the CFO did not sign this payment, for this vault on this chain",
    "asset": "the vault does not pay this asset",
    "payment limit": "the amount is above what one payment may be",
    "window limit": "the amount is above what is left in the window",
    "funds": "the vault does not have that much",
    "false": "the token, or the payee, refused the transfer",
    "arrived": "the token moved another amount than it was asked to",
    "keeper": "only the owner and the guardian may do this",
    "owner": "only the owner may do this",
    "role": "nobody has two roles, and none is empty",
    "raise": "raising a limit is scheduled, and takes effect after the delay",
    "delay": "the change is not ready",
    "stale": "the change was not made in time",
    "unknown": "the change is not scheduled",
    "scheduled": "the change is scheduled already",
}
"""What the contract says, and what it means."""


class Kind(IntEnum):
    """Kinds of changes that take effect after a delay."""

    LIMIT = 1
    PAYEE = 2
    AGENT = 3
    CFO = 4
    GUARDIAN = 5
    OWNER = 6
    WITHDRAW = 7
    UNPAUSE = 8


@dataclass(frozen=True)
class Change:
    """Something looser. ``subject``: an asset, a payee, or who gets a role; ``first``, ``second``: amounts, if any."""

    kind: Kind
    subject: str = COIN
    first: int = 0
    second: int = 0

    def fields(self) -> tuple[int, str, int, int]:
        """The fields in the contract's order."""
        return (int(self.kind), self.subject, self.first, self.second)


@dataclass(frozen=True)
class Setting:
    """The limits of an asset, in atomic units."""

    asset: str
    per_payment: int
    per_window: int


@dataclass(frozen=True)
class Roles:
    """Who may do what, besides the owner, who deploys it. ``guardian`` can only stop things."""

    agent: str
    cfo: str
    guardian: str


@dataclass(frozen=True)
class Call:
    """A call of a contract that carries no coins."""

    to: str
    data: bytes


class VaultCalls:
    """The calls of one vault."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._contract = built(CONTRACT)

    def pay(self, payment: VaultPayment, signature: bytes) -> Call:
        """Pay what the CFO approved.

        Raises:
            VaultRefused: that is no signature.
        """
        return self._call("pay", payment.fields(), *signature_parts(signature))

    def pause(self) -> Call:
        """Pay nothing more, from now on."""
        return self._call("pause")

    def unlist(self, payee: str) -> Call:
        """Pay nothing more to somebody, from now on."""
        return self._call("unlist", payee)

    def spoil(self, intent: bytes) -> Call:
        """Use an approval up, so that it pays nothing."""
        return self._call("spoil", intent)

    def revoke_policy(self, policy: bytes) -> Call:
        """Pay nothing more that was approved under a version of the policy."""
        return self._call("revoke_policy", policy)

    def lower(self, setting: Setting) -> Call:
        """Lower the limits of an asset, from now on."""
        return self._call("lower", setting.asset, setting.per_payment, setting.per_window)

    def schedule(self, change: Change) -> Call:
        """Announce a change; from now on its delay runs, and the guardian may drop it."""
        return self._call("schedule", change.fields())

    def make(self, change: Change) -> Call:
        """Make a change whose delay is over."""
        return self._call("make", change.fields())

    def drop(self, change: bytes) -> Call:
        """Forget a change that waits, by its name."""
        return self._call("drop", change)

    def spent(self, asset: str) -> Call:
        """Ask what counts in the window that ends now."""
        return self._call("spent", asset)

    def used(self, intent: bytes) -> Call:
        """Ask whether an approval is used up."""
        return self._call("used", intent)

    def _call(self, function: str, *arguments: object) -> Call:
        return Call(self.address, self._contract.call(function, *arguments))


def deployment(roles: Roles, delay_s: int, window_s: int, settings: Sequence[Setting], payees: Sequence[str]) -> bytes:
    """The data of the transaction that deploys a vault; whoever sends it is its owner.

    ``delay_s``: 3,600 to 30 days; ``window_s``: a multiple of 24.
    """
    limits = [(each.asset, each.per_payment, each.per_window) for each in settings]
    return built(CONTRACT).creation(roles.agent, roles.cfo, roles.guardian, delay_s, window_s, limits, list(payees))


def change_name(change: Change) -> bytes:
    """The name of a change, by which it is dropped."""
    from eth_abi.abi import encode

    from chimera.commerce.vault.contracts import keccak

    return keccak(bytes(encode(["uint256", "address", "uint256", "uint256"], change.fields())))


def refusal(reason: str) -> VaultRefused:
    """The error for what the contract said when it refused."""
    return VaultRefused(f"the vault refused: {REFUSALS.get(reason, reason[:120] or 'without a reason')}", reason=reason)
