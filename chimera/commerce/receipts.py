"""Whether a payment was made: its receipt beside the transaction, the Transfer event, and what the payee has more.

A receipt that says "ok" says only that a transaction did not revert. A token may answer false and move nothing, or
move less than was asked, or say that it moved what it did not.
"""

from dataclasses import dataclass
from enum import StrEnum

from chimera.commerce.chain.port import Chain, Receipt
from chimera.commerce.wallet.calldata import Moves
from chimera.commerce.wallet.rules import read_raw
from chimera.commerce.wallets import ChainTransaction
from chimera.core.errors import ChainDisagrees


class Paid(StrEnum):
    """What a final transaction did. ODD: the money is gone, and the payee does not have all of it."""

    YES = "paid"
    NO = "not paid"
    ODD = "odd"


@dataclass(frozen=True)
class Checked:
    """What a transaction did, its fee in atomic units, and why."""

    paid: Paid
    fee: int
    why: str


async def check_receipt(chain: Chain, made: ChainTransaction, receipt: Receipt) -> Checked:
    """Compare a receipt with the transaction that was signed, its events and the balances around its block.

    Raises:
        ChainDisagrees: the receipt is not one of this transaction, or balances and events do not agree. ChainDown.
    """
    sender, _, chain_id, gas, moves = read_raw(made.raw)
    to = moves.token or moves.payee
    if receipt.hash != made.hash or (receipt.sender, receipt.to) != (sender.lower(), to) or chain_id != chain.chain_id:
        raise ChainDisagrees(f"the receipt of {made.hash} is of another transaction")
    if not 0 < receipt.gas_used <= gas.limit or not 0 <= receipt.price <= gas.max_fee:
        raise ChainDisagrees(f"the receipt of {made.hash} says that it cost more than it could")
    if not receipt.ok:
        return Checked(Paid.NO, receipt.fee, "the transaction was reverted")
    if moves.token is None:
        return Checked(Paid.YES, receipt.fee, "")
    return await _check_token(chain, receipt, sender.lower(), moves)


async def _check_token(chain: Chain, receipt: Receipt, sender: str, moves: Moves) -> Checked:
    """Look at what the payee has more after the block, and at all events of the token that explain it."""
    token, payee = str(moves.token), moves.payee
    before, after = (
        await chain.balance(token, payee, receipt.block - 1),
        await chain.balance(token, payee, receipt.block),
    )
    came = await chain.transfers(token, receipt.block, receipt.block, payee=payee)
    went = await chain.transfers(token, receipt.block, receipt.block, sender=payee)
    ours = [
        each.amount for each in receipt.transfers if (each.token, each.sender, each.payee) == (token, sender, payee)
    ]
    told = sum(each.amount for each in came if each.hash == receipt.hash)
    if told != sum(each.amount for each in receipt.transfers if (each.token, each.payee) == (token, payee)):
        raise ChainDisagrees(f"the events of block {receipt.block} are not those of the receipt of {receipt.hash}")
    others = sum(each.amount for each in came) - told - sum(each.amount for each in went)
    delta = after - before - others
    if ours == [moves.amount] and delta == moves.amount:
        return Checked(Paid.YES, receipt.fee, "")
    if not ours and delta == 0:
        left = await chain.balance(token, sender, receipt.block - 1) - await chain.balance(token, sender, receipt.block)
        if left <= 0:
            return Checked(Paid.NO, receipt.fee, "the token moved nothing")
    return Checked(
        Paid.ODD, receipt.fee, f"the payee has {delta} more, and the events say {sum(ours)} of {moves.amount}"
    )
