"""The naive control of the end-to-end part: look whether there is room, pay, then write down that it was spent.

It reserves nothing, and where the answer to a transaction is lost it makes another one with the nonce that is next
then. On the same node with the same faults it must overspend and pay twice, or those faults would show nothing.
"""

import asyncio
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from chimera.bench.commerce.plan import Plan
from chimera.commerce.chain.embedded import LOCAL_CHAIN
from chimera.commerce.chain.port import Chain
from chimera.commerce.chain.rpc import RpcChain, connect_chain
from chimera.commerce.intents import digest_of
from chimera.commerce.wallet.calldata import transfer_call
from chimera.core.errors import ChainDisagrees, ChainDown, ConfigError
from chimera.store.postgres import Pool, fetch

AMOUNT = 500
_TRIES, _ANSWER_S, _AGAIN_S = 4, 1.5, 1.5
_LOOKS, _LOOK_S = 20, 0.25
_GAS, _MAX_FEE, _TIP = 100_000, 10**11, 10**9


@dataclass(frozen=True)
class Naive:
    """What came of it: units beyond the budget, and payments that were made more than once."""

    overspend_units: int
    double_payments: int


class NaivePayer:
    """An agent with its key and a budget that it shares with others."""

    def __init__(self, pool: Pool, chain: Chain, plan: Plan, place: int) -> None:
        from eth_account import Account

        self._pool = pool
        self._chain = chain
        self._token = plan.token
        self.account: Any = Account.from_key(digest_of("naive", str(plan.seed), str(place)))

    async def pay(self, payee: str, cap: int) -> None:
        """Pay somebody, if there is room."""
        (row,) = await fetch(self._pool, "SELECT spent FROM naive_budget")
        spent = int(row["spent"])
        if spent + AMOUNT > cap:
            return
        for _ in range(_TRIES):
            try:
                nonce = await self._chain.nonce(str(self.account.address))
                await self._chain.send_raw(self._signed(payee, nonce))
            except ChainDown:  # no answer: once more, a little later
                await asyncio.sleep(_AGAIN_S)
            else:
                await self._mined(nonce)
                break
        await fetch(self._pool, "UPDATE naive_budget SET spent = %s", (spent + AMOUNT,))

    async def _mined(self, nonce: int) -> None:
        """Wait for a block with it, for a while."""
        for _ in range(_LOOKS):
            await asyncio.sleep(_LOOK_S)
            with suppress(ChainDown):
                if await self._chain.nonce(str(self.account.address)) > nonce:
                    return

    def _signed(self, payee: str, nonce: int) -> bytes:
        made = {
            "type": 2, "chainId": LOCAL_CHAIN, "nonce": nonce, "value": 0, "gas": _GAS,
            "data": transfer_call(payee, AMOUNT), "to": bytes.fromhex(self._token[2:]),
            "maxFeePerGas": _MAX_FEE, "maxPriorityFeePerGas": _TIP,
        }  # fmt: skip
        return bytes(self.account.sign_transaction(made).raw_transaction)


def naive_payers(pool: Pool, chain: Chain, plan: Plan, count: int) -> list[NaivePayer]:
    """So many agents."""
    return [NaivePayer(pool, chain, plan, place) for place in range(count)]


async def connected_to_one(plan: Plan) -> RpcChain:
    """The chain by its first endpoint alone."""
    while True:
        try:
            return await connect_chain(plan.endpoints[:1], LOCAL_CHAIN, _ANSWER_S)
        except (ChainDown, ChainDisagrees, ConfigError):
            await asyncio.sleep(_AGAIN_S)


async def naive(pool: Pool, truth: Chain, plan: Plan, payers: Sequence[NaivePayer], each: int) -> Naive:
    """Let them pay for twice as much as their budget has, all at once."""
    cap = len(payers) * each * AMOUNT // 2
    since = await truth.head()
    await fetch(pool, "CREATE TABLE naive_budget (spent numeric NOT NULL)")
    await fetch(pool, "INSERT INTO naive_budget VALUES (0)")

    async def agent(place: int, payer: NaivePayer) -> None:
        for number in range(each):
            payee = "0x" + digest_of("naive payee", str(plan.seed), f"{place}-{number}")[:20].hex()
            await payer.pay(payee, cap)

    async with asyncio.TaskGroup() as group:
        for place, payer in enumerate(payers):
            group.create_task(agent(place, payer))
    await asyncio.sleep(2.0)
    senders = {str(payer.account.address).lower() for payer in payers}
    found = [one for one in await truth.transfers(plan.token, since, await truth.head()) if one.sender in senders]
    paid = Counter(one.payee for one in found)
    return Naive(max(0, len(found) * AMOUNT - cap), sum(n - 1 for n in paid.values()))
