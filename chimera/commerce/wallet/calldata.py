"""What a transaction does, read back from its own bytes: one of two things, or it is refused.

The signer builds transactions by itself and then reads what it built with this, so that a fault in the one is found
by the other. Everything that is not listed is refused: approve, permit, setApprovalForAll, increaseAllowance, calls
of unknown contracts, contracts that are deployed, and coins that ride along with a call of a token.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from chimera.core.errors import SignerRefused

TRANSFER = bytes.fromhex("a9059cbb")
"""The selector of transfer(address,uint256), the only call of a contract that is ever signed."""
REFUSED = {
    "095ea7b3": "approve(address,uint256)",
    "39509351": "increaseAllowance(address,uint256)",
    "23b872dd": "transferFrom(address,address,uint256)",
    "a22cb465": "setApprovalForAll(address,bool)",
    "d505accf": "permit(address,address,uint256,uint256,uint8,bytes32,bytes32)",
    "8fcbaf0c": "permit(address,address,uint256,uint256,bool,uint8,bytes32,bytes32)",
    "2b67b570": "Permit2.permit",
    "87517c45": "Permit2.approve",
    "36c78516": "Permit2.transferFrom",
    "ac9650d8": "multicall(bytes[])",
}
"""Calls that people ask about, by selector. The list only names them: what is not TRANSFER is refused."""
_WORD = 32
_ADDRESS = 20


@dataclass(frozen=True)
class Moves:
    """What a transaction moves. ``token``: None is the chain's own coin. Addresses are lower-case."""

    token: str | None
    payee: str
    amount: int


def transfer_call(payee: str, amount: int) -> bytes:
    """The call data of an ERC-20 transfer."""
    return TRANSFER + bytes.fromhex(payee[2:]).rjust(_WORD, b"\0") + amount.to_bytes(_WORD, "big")


def read_transaction(fields: Mapping[str, Any]) -> Moves:
    """What a transaction moves.

    Raises:
        SignerRefused: it does anything else than to move coins, or one token, to one address.
    """
    to, data, value = bytes(fields["to"]), bytes(fields["data"]), int(fields["value"])
    if len(to) != _ADDRESS:
        raise SignerRefused("a transaction that deploys a contract is not signed")
    if fields.get("accessList") or fields.get("authorizationList") or fields.get("blobVersionedHashes"):
        raise SignerRefused("a transaction with access lists, delegations or blobs is not signed")
    if not data:
        if value <= 0:
            raise SignerRefused("a transaction that moves nothing is not signed")
        return Moves(None, "0x" + to.hex(), value)
    if data[:4] != TRANSFER:
        raise SignerRefused(f"a call of {REFUSED.get(data[:4].hex(), '0x' + data[:4].hex())} is not signed")
    if value:
        raise SignerRefused("coins that ride along with a call of a token are not signed")
    if len(data) != 4 + 2 * _WORD or any(data[4 : 4 + _WORD - _ADDRESS]):
        raise SignerRefused("call data that is longer or shorter than a transfer is not signed")
    amount = int.from_bytes(data[4 + _WORD :], "big")
    if amount <= 0:
        raise SignerRefused("a transfer of nothing is not signed")
    return Moves("0x" + to.hex(), "0x" + data[4 + _WORD - _ADDRESS : 4 + _WORD].hex(), amount)
