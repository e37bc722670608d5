"""Opens what pays: a chain behind a signer, the shops of a list, and the loop that goes on with what was left."""

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import httpx

from chimera.commerce.chain.port import Chain
from chimera.commerce.deciding import Deciding
from chimera.commerce.paying import Patience, Payer
from chimera.commerce.rails.choosing import Rails
from chimera.commerce.rails.paying import Rail
from chimera.commerce.rails.purses import Fund, KnownWallets, unfunded
from chimera.commerce.setup import Installed, Opened
from chimera.commerce.spending import Spending
from chimera.commerce.wallet.authorizer import Authorizer
from chimera.commerce.wallet.client import SignerClient
from chimera.commerce.wallets import WalletStore
from chimera.commerce.x402.asking import Asker
from chimera.commerce.x402.buying import Buyer, Parts
from chimera.commerce.x402.journal import PurchaseStore
from chimera.commerce.x402.offers import Shop
from chimera.commerce.x402.ports import Evm
from chimera.commerce.x402.used import TokenChain
from chimera.core.errors import ChimeraError
from chimera.core.tasks import stop

SETTLE_S = 30.0


@dataclass(frozen=True)
class Market:
    """Where payments go: the chain, as transfers and as purchases see it, who signs, and the shops of the list."""

    chain: Chain
    evm: Evm
    signer: SignerClient
    shops: Sequence[Shop]
    patience: Patience
    fund: Fund = unfunded
    services: Mapping[str, Rail] = field(default_factory=dict[str, Rail])


@asynccontextmanager
async def open_rails(services: Installed, desk: Deciding, market: Market) -> AsyncGenerator[Opened]:
    """What pays on a market, while it is open. What was left under way is gone on with."""
    pool, audit = services.pool, services.audit
    payer = Payer(pool, desk.ledger, audit, market.chain, market.signer, desk.approvals, market.patience)
    wallets = KnownWallets(market.signer, market.chain, WalletStore(pool, audit), market.fund)
    ended = asyncio.Event()
    async with httpx.AsyncClient(trust_env=False) as client:
        parts = Parts(
            desk.ledger,
            PurchaseStore(pool),
            Asker(client),
            desk,
            Authorizer(wallets, desk.approvals),
            TokenChain(market.evm, market.patience.depth),
            audit,
        )
        buyer = Buyer(parts, market.shops) if market.shops else None
        going_on = [asyncio.create_task(payer.run(ended))]
        if buyer is not None:
            going_on.append(asyncio.create_task(_settle(buyer, ended)))
        try:
            yield Opened(Rails(desk.ledger, payer, buyer, market.services), Spending(desk, buyer))
        finally:
            ended.set()
            for task in going_on:
                await stop(task)
            await market.signer.close()


async def _settle(buyer: Buyer, ended: asyncio.Event) -> None:
    """Go on with purchases that are signed and not at their end, until told to end."""
    while not ended.is_set():
        with suppress(ChimeraError):  # the database is away: the next turn tries again
            await buyer.settle()
        try:
            async with asyncio.timeout(SETTLE_S):
                await ended.wait()
        except TimeoutError:
            continue
