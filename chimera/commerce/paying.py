"""Payments from approved to captured: reserve, sign, broadcast, confirm, capture; any step may be a process's last.

Everything that is known is in the database, so :meth:`Payer.step` looks at a payment and does the next thing, whoever
did the one before. A payment that was signed is never signed again but with the same nonce; what is sent again is the
same bytes. What an endpoint says is a hint; what counts is a receipt with enough blocks on top of it.
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from chimera.commerce.chain.port import Chain, Fees, Sent
from chimera.commerce.intents import FINAL, SPENT, Intent, IntentState
from chimera.commerce.ledger import Ledger
from chimera.commerce.receipts import Paid, check_receipt
from chimera.commerce.shares import SHARE, shares_of
from chimera.commerce.signing import Signing, ToSign
from chimera.commerce.wallet.approval import Signatures, approval_of
from chimera.commerce.wallet.client import Signer
from chimera.commerce.wallet.request import Gas
from chimera.commerce.wallet.rules import COIN_GAS, at_least
from chimera.commerce.wallets import ChainTransaction, Wallet, WalletStore
from chimera.core.errors import (
    ChainDisagrees,
    ChainDown,
    ChimeraError,
    PaymentRefused,
    SignerDown,
    SignerRefused,
)
from chimera.core.errors import IntentState as WrongState
from chimera.store.audit import AuditEvent, AuditLog
from chimera.store.postgres import Pool, fetch

PAYER = "chimera:payer"
TOKEN_GAS = 100_000
_S = IntentState
_OPEN = (_S.RESERVED, _S.SIGNED, _S.BROADCAST, _S.UNKNOWN, _S.CONFIRMED, _S.QUARANTINED, _S.FAILED)
_UNFINISHED = f"""
    SELECT i.id, i.state FROM intents AS i WHERE i.chain_id = %s AND i.state = ANY (%s) AND i.id > %s
        AND NOT EXISTS (SELECT FROM x402_payments AS p WHERE p.intent = i.id) -- those go their own way
        AND (%s::integer[] IS NULL OR {SHARE} = ANY (%s))
    ORDER BY i.id LIMIT %s
"""  # noqa: S608 - of constants
_FEES_S = 1.0
"""How long payments that are signed at the same time share a look at what gas costs."""
_TENANTS = "SELECT DISTINCT tenant FROM wallets WHERE chain_id = %s ORDER BY tenant"


@dataclass(frozen=True)
class Patience:
    """How payments are waited for. ``depth``: blocks that make one final, its own among them; the others: seconds.

    ``poll_s``: between looks at a payment; ``resend_s``: until its bytes are sent again; ``stuck_s``: until it is
    replaced; ``pay_s``: the longest :meth:`Payer.pay`; ``look_s``: between looks at wallets, and seals.
    """

    depth: int = 12
    poll_s: float = 2.0
    resend_s: float = 30.0
    stuck_s: float = 180.0
    pay_s: float = 300.0
    look_s: float = 60.0
    at_once: int = 64


class Payer:
    """Makes approved payments on one chain."""

    def __init__(
        self,
        pool: Pool,
        ledger: Ledger,
        audit: AuditLog,
        chain: Chain,
        signer: Signer,
        signatures: Signatures,
        patience: Patience | None = None,
    ) -> None:
        self._pool = pool
        self._ledger = ledger
        self._audit = audit
        self._chain = chain
        self._signer = signer
        self._signatures = signatures
        self._patience = patience or Patience()
        self._signing = Signing(pool, ledger, signer, PAYER)
        self.wallets = WalletStore(pool, audit)
        self._known: dict[tuple[str, str], str] = {}
        self._told: set[tuple[str, str]] = set()
        self._look_at = 0.0
        self._waits: dict[str, tuple[int, float]] = {}
        self._fees: tuple[float, Fees] | None = None

    async def pay(self, intent_id: str) -> IntentState:
        """Make an approved payment, or go on with it, and return how far it came when it ends or the time is up.

        Captured: it was made. Released: it was not, and nothing is held. Anything else is gone on with by :meth:`turn`.

        Raises:
            OverBudget, BudgetMissing, IntentExpired, IntentConflict, IntentState: nothing is held. SignerRefused,
            WalletQuarantined: it is not signed, and what is held is given back when it expires.
        """
        intent = await self._ledger.intent(intent_id)
        if intent.state in (_S.PROPOSED, _S.SCREENED, _S.ESCALATED):
            raise WrongState(f"payment {intent.id} is {intent.state}", state=str(intent.state))
        if intent.state == _S.APPROVED:
            await self._ledger.reserve(intent)
        try:
            async with asyncio.timeout(self._patience.pay_s):
                while not await self.step(intent_id):  # noqa: ASYNC110 - a chain is polled
                    await asyncio.sleep(self._patience.poll_s)
        except TimeoutError:
            pass
        return (await self._ledger.intent(intent_id)).state

    async def step(self, intent_id: str) -> bool:
        """Do the next thing for a payment; True when there is nothing more to do, or nothing that is not a human's.

        Raises:
            SignerRefused, WalletQuarantined, IntentExpired, IntentConflict: it cannot be signed.
        """
        intent = await self._ledger.intent(intent_id)
        try:
            while await self._next(intent):
                before, intent = intent.state, await self._ledger.intent(intent_id)
                if intent.state == before:
                    break
        except (ChainDown, SignerDown, ChainDisagrees) as error:
            await self._alarm(intent, error.message)
            return False
        intent = await self._ledger.intent(intent_id)
        return intent.state in FINAL | SPENT | {_S.QUARANTINED}

    async def turn(self, at_once: int = 500, *, begin: bool = True, shares: Sequence[int] | None = None) -> int:
        """Go on with all payments under way, end what has expired, seal the books; how many are under way.

        ``begin``: sign those too that are reserved; where a guard stands before a payment, that is for the guard.
        ``shares``: only with those of some wallets (``shares.py``), because others go on with the rest.
        """
        after, count = "00000000-0000-0000-0000-000000000000", 0
        states = [str(state) for state in _OPEN if begin or state is not _S.RESERVED]
        mine = None if shares is None else list(shares)
        waits, self._waits, head = self._waits, {}, None
        while rows := await fetch(self._pool, _UNFINISHED, (self._chain.chain_id, states, after, mine, mine, at_once)):
            head = await self._chain.head() if head is None else head
            seats = asyncio.Semaphore(self._patience.at_once)
            async with asyncio.TaskGroup() as tasks:
                for row in rows:
                    intent_id = str(row["id"])
                    if row["state"] == _S.BROADCAST and _too_early(waits.get(intent_id), head):
                        self._waits[intent_id] = waits[intent_id]
                    else:
                        tasks.create_task(self._step_in(seats, intent_id, head))
            after, count = str(rows[-1]["id"]), count + len(rows)
        if mine is None or 0 in mine:
            await self._look_after()
        return count

    async def run(self, ended: asyncio.Event, *, begin: bool = False) -> None:
        """Go on with what is signed until ``ended`` is set; what fails in one turn is tried in the next.

        The payments are shared with all who do. ``begin``: as of :meth:`turn`.
        """
        async with shares_of(self._pool, self._chain.chain_id) as shares:
            while not ended.is_set():
                try:
                    await self.turn(begin=begin, shares=await shares.mine())
                except* ChimeraError:
                    self._told.clear()  # said again in the next turn
                try:
                    async with asyncio.timeout(self._patience.poll_s):
                        await ended.wait()
                except TimeoutError:
                    continue

    async def wallet(self, tenant: str, agent: str) -> Wallet:
        """The wallet of an agent, made with the first payment or before."""
        place = (tenant, agent)
        if place not in self._known:
            self._known[place] = await self._signer.address(tenant, agent)
        found = await self.wallets.find(self._chain.chain_id, tenant, agent)
        if found is not None and found.address == self._known[place]:
            return found
        address = self._known[place]
        return await self.wallets.add(self._chain.chain_id, address, tenant, agent, await self._chain.nonce(address))

    async def check_wallets(self, tenant: str | None = None) -> list[str]:
        """Look for wallets whose nonces do not add up: gaps, behind which all waits, and transactions of others."""
        found: list[str] = []
        for wallet in await self.wallets.listed(self._chain.chain_id, tenant):
            if wallet.quarantined:
                continue
            used = await self._chain.nonce(wallet.address)
            now_is = await self.wallets.find(wallet.chain_id, wallet.tenant, wallet.agent)
            if now_is is not None and used > now_is.next_nonce:
                why = (
                    f"{used} transactions of {wallet.address} are on the chain, and {now_is.next_nonce} were given out"
                )
                await self._quarantine(wallet.address, why)
                found.append(why)
            elif gaps := await self.wallets.unused(wallet, used):
                why = f"nonce {gaps[0]} of {wallet.address} belongs to no payment, and later ones wait behind it"
                await self._tell(wallet.tenant, wallet.agent, wallet.address, why)
                found.append(why)
        return found

    async def _look_after(self) -> None:
        """End what has expired and, now and then, look at the wallets and seal the books."""
        await self._ledger.reap()
        if time.monotonic() >= self._look_at:
            self._look_at = time.monotonic() + self._patience.look_s
            await self.check_wallets()
            for row in await fetch(self._pool, _TENANTS, (self._chain.chain_id,)):
                await self._ledger.seal(str(row["tenant"]))

    async def _step_in(self, seats: asyncio.Semaphore, intent_id: str, head: int) -> None:
        """Do the next thing for a payment; one that waits for the chain is looked at again with the next block."""
        async with seats:
            self._waits[intent_id] = (head + 1, time.monotonic() + self._patience.resend_s)
            try:
                await self.step(intent_id)
            except ChimeraError as error:  # one payment's; the others go on
                await self._alarm(await self._ledger.intent(intent_id), error.message)

    # --- steps ---------------------------------------------------------------------------------------------------

    async def _next(self, intent: Intent) -> bool:
        """Do one thing; whether another may follow at once."""
        match intent.state:
            case _S.RESERVED:
                await self._sign(intent)
            case _S.SIGNED:  # where it was sent all the same, the endpoints say so
                await self._broadcast(intent)
            case _S.UNKNOWN:
                if (final := await self._confirm(intent)) is None:
                    await self._broadcast(intent)
                return final is not False
            case _S.BROADCAST:
                if (final := await self._confirm(intent)) is None:
                    await self._push(intent)
                return bool(final)
            case _S.CONFIRMED:
                await self._capture(intent)
            case _S.QUARANTINED:
                return bool(await self._confirm(intent))
            case _S.FAILED:
                await self._give_back(intent)
            case _:
                return False
        return True

    async def _sign(self, intent: Intent) -> None:
        approval = await approval_of(intent, self._signatures)
        wallet = await self.wallet(intent.asked.tenant, intent.asked.agent)
        gas = gas_for(intent, await self._fees_now())
        try:
            await self._signing.sign(ToSign(intent, approval, self._chain.chain_id, wallet.address, gas))
        except WrongState:  # somebody else was faster: it is signed
            if (await self._ledger.intent(intent.id)).state == _S.RESERVED:
                raise

    async def _broadcast(self, intent: Intent) -> None:
        """Send what was signed, and say what came of it; nothing that is said here makes a payment made or not made."""
        (newest, *_) = await self.wallets.transactions(intent.id)
        try:
            sending = await self._chain.send_raw(newest.raw)
        except ChainDown as error:
            await self.wallets.sent(newest.hash, error.message)
            await self._move(intent, _S.UNKNOWN, _S.SIGNED, why=error.message)
            raise
        await self.wallets.sent(newest.hash, f"{sending.outcome}: {sending.detail}")
        if sending.outcome in (Sent.TAKEN, Sent.KNOWN):
            await self._move(intent, _S.BROADCAST, _S.SIGNED, _S.UNKNOWN)
        elif sending.outcome == Sent.NONCE_TOO_LOW:
            await self._nonce_gone(intent, newest)
        elif sending.outcome == Sent.UNDERPRICED and await self._raise_fees(intent, newest):
            return
        else:
            await self._alarm(intent, f"an endpoint does not take its transaction: {sending.detail}")

    async def _push(self, intent: Intent) -> None:
        """A payment without a receipt: send it again, with higher fees when it waits for long."""
        (newest, *_) = await self.wallets.transactions(intent.id)
        now = await self._now()
        waits = timedelta(seconds=self._patience.stuck_s)
        if newest.signed_at + waits <= now and await self._raise_fees(intent, newest):
            return
        if newest.sent_at is None or newest.sent_at + timedelta(seconds=self._patience.resend_s) <= now:
            sending = await self._chain.send_raw(newest.raw)
            await self.wallets.sent(newest.hash, f"{sending.outcome}: {sending.detail}")
            if sending.outcome == Sent.NONCE_TOO_LOW:
                await self._nonce_gone(intent, newest)

    async def _nonce_gone(self, intent: Intent, newest: ChainTransaction) -> None:
        """The nonce was used: by one of our transactions, or by somebody else who has the key."""
        if await self._chain.nonce(newest.sender) <= newest.nonce:
            return  # only in a block that not every endpoint has, or in none
        for each in await self.wallets.transactions(intent.id):
            if await self._chain.receipt(each.hash) is not None:
                await self._move(intent, _S.BROADCAST, _S.SIGNED, _S.UNKNOWN)
                return
        why = f"nonce {newest.nonce} of {newest.sender} was used by a transaction that is not ours"
        await self._quarantine(newest.sender, why)
        await self._move(intent, _S.QUARANTINED, _S.SIGNED, _S.UNKNOWN, _S.BROADCAST, why=why)

    async def _raise_fees(self, intent: Intent, newest: ChainTransaction) -> bool:
        """Replace a transaction that waits, if the payment's fee cap allows that and gas costs more now."""
        gas = raised(newest.gas, await self._chain.fees(), intent.asked.fee_cap)
        if gas is None:
            await self._alarm(
                intent, f"it waits, and its fee cap allows no more than {newest.gas.max_fee} a unit of gas"
            )
            return False
        item = ToSign(intent, await approval_of(intent, self._signatures), newest.chain_id, newest.sender, gas)
        try:
            made = await self._signing.replace(item, newest.nonce, newest.place + 1)
        except SignerRefused as refused:
            await self._alarm(intent, f"it waits, and is not replaced: {refused.message}")
            return False
        sending = await self._chain.send_raw(made.raw)
        await self.wallets.sent(made.hash, f"{sending.outcome}: {sending.detail}")
        return True

    async def _confirm(self, intent: Intent) -> bool | None:
        """Look for a receipt of any transaction of a payment; whether it is final, or None when there is none."""
        for made in await self.wallets.transactions(intent.id):
            receipt = await self._chain.receipt(made.hash)
            if receipt is None:
                continue
            if receipt.depth < self._patience.depth:
                if intent.id in self._waits:
                    self._waits[intent.id] = (receipt.block + self._patience.depth - 1, self._waits[intent.id][1])
                await self._move(intent, _S.BROADCAST, _S.SIGNED, _S.UNKNOWN)
                return False
            checked = await check_receipt(self._chain, made, receipt)
            if checked.paid == Paid.ODD:
                await self._alarm(intent, checked.why)
                await self._move(intent, _S.QUARANTINED, _S.SIGNED, _S.UNKNOWN, _S.BROADCAST, why=checked.why)
                return True
            await self.wallets.mined(made.hash, receipt.block, checked.fee)
            if intent.state == _S.SIGNED:
                await self._move(intent, _S.BROADCAST, _S.SIGNED)
            to = _S.CONFIRMED if checked.paid == Paid.YES else _S.FAILED
            await self._move(intent, to, _S.BROADCAST, _S.UNKNOWN, _S.QUARANTINED, why=checked.why)
            return True
        return None

    async def _capture(self, intent: Intent) -> None:
        await self._ledger.capture(intent.id, intent.asked.amount, await self._fee(intent))

    async def _give_back(self, intent: Intent) -> None:
        await self._ledger.release(intent.id, await self._fee(intent))

    async def _fee(self, intent: Intent) -> int:
        for made in await self.wallets.transactions(intent.id):
            if made.fee is not None:
                return made.fee
        raise ChainDisagrees(f"payment {intent.id} is {intent.state}, and no transaction of it was mined")

    # --- what is said --------------------------------------------------------------------------------------------

    async def _move(self, intent: Intent, to: IntentState, *expected: IntentState, why: str = "") -> bool:
        """Move a payment on; False when it is there, or where somebody else moved it meanwhile."""
        if intent.state == to:
            return False
        try:
            return await self._ledger.move(intent.id, to, *expected, by=PAYER, why=why)
        except WrongState:
            return False

    async def _quarantine(self, address: str, why: str) -> None:
        await self.wallets.quarantine(self._chain.chain_id, address, why)

    async def _alarm(self, intent: Intent, why: str) -> None:
        await self._tell(intent.asked.tenant, intent.asked.agent, intent.id, why)

    async def _tell(self, tenant: str, agent: str, about: str, why: str) -> None:
        """Put an alarm on the record, once for each thing that is wrong."""
        if (about, why) not in self._told:
            self._told.add((about, why))
            data = {"agent": agent, "about": about, "why": why[:300], "chain": self._chain.chain_id}
            await self._audit.append(AuditEvent(kind="money.alarm", actor=PAYER, tenant=tenant, data=data))

    async def _fees_now(self) -> Fees:
        """What gas costs, as of a moment ago."""
        if self._fees is None or self._fees[0] < time.monotonic():
            fees = await self._chain.fees()
            self._fees = (time.monotonic() + _FEES_S, fees)
        return self._fees[1]

    async def _now(self) -> datetime:
        (row,) = await fetch(self._pool, "SELECT clock_timestamp() AS now")
        return row["now"]


def _too_early(wait: tuple[int, float] | None, head: int) -> bool:
    """Whether nothing can have changed for a payment that waits for a block, and it is not yet sent again either."""
    return wait is not None and head < wait[0] and time.monotonic() < wait[1]


def gas_for(intent: Intent, fees: Fees) -> Gas:
    """What a payment's transaction may cost: room for the base fee to double, as far as the fee cap allows it.

    Raises:
        PaymentRefused: the fee cap does not even allow what gas costs now.
    """
    limit = COIN_GAS if intent.asked.asset == intent.asked.fee_asset else TOKEN_GAS
    affordable = intent.asked.fee_cap // limit
    if affordable < fees.base + 1:
        raise PaymentRefused(
            f"payment {intent.id} may cost {affordable} a unit of gas, and one costs {fees.base} now",
            remedy="Propose it with a higher fee cap, or wait until gas costs less.",
        )
    max_fee = min(2 * fees.base + max(1, fees.tip), affordable)
    return Gas(limit, max_fee, max(1, min(fees.tip, max_fee - fees.base)))


def raised(gas: Gas, fees: Fees, fee_cap: int) -> Gas | None:
    """The fees with which a waiting transaction is replaced: at least 12.5 % more of both, and enough for now.

    None: the fee cap does not allow that, or it would still be too little.
    """
    priority = max(at_least(gas.priority), fees.tip)
    least = max(at_least(gas.max_fee), at_least(gas.priority), fees.base + at_least(gas.priority))
    affordable = fee_cap // gas.limit
    if affordable < least:
        return None
    max_fee = min(max(least, 2 * fees.base + priority), affordable)
    return Gas(gas.limit, max_fee, max(at_least(gas.priority), min(priority, max_fee - fees.base)))
