"""Payments on the local chain: everything real but the worth of the money.

A chain of this installation's own (:mod:`~chimera.commerce.local.keeping`), a token on it, a signer in a process of its
own, the CFO's key in a file, a shop to buy from, and a budget. A human agrees to each payment above ten cents; a
scripted reviewer may do that here and nowhere else.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from chimera.commerce.addresses import checksummed
from chimera.commerce.assets import AssetStore, on_chain
from chimera.commerce.budgets import BudgetStore, Limit
from chimera.commerce.cfo_key import load_key
from chimera.commerce.chain.embedded import COIN, LOCAL_CHAIN, new_tester
from chimera.commerce.deciding import Deciding
from chimera.commerce.local.goods import GOODS
from chimera.commerce.local.keeping import Kept, alone, kept_chain
from chimera.commerce.local.shop import open_shop
from chimera.commerce.local.signer import started_signer
from chimera.commerce.payees import PayeeBook
from chimera.commerce.paying import Patience
from chimera.commerce.payment_policy import Level, PaymentPolicy, Steps
from chimera.commerce.rails.opening import Market, open_rails
from chimera.commerce.setup import Installed, Opened, PaymentSetup
from chimera.core.errors import ConfigError, ExtraMissing
from chimera.core.settings import Settings

if TYPE_CHECKING:
    from chimera.commerce.chain.embedded import EmbeddedChain
    from chimera.commerce.x402.evm import Web3Evm

DOLLAR = 10**6
LOCAL_DOLLAR = on_chain("LUSD", LOCAL_CHAIN, 6, "0xf2e246bb76df876cef8b38ae84130f4f55de395b")
"""The token of the local chain: the first contract that is made there, so its address is known beforehand."""
TOKEN_NAME, TOKEN_VERSION = "Local dollar", "1"
SHOP = "sample shop"
PRICE = DOLLAR // 4
BUDGET = 25 * DOLLAR
FUNDS = 10 * DOLLAR
COINS = 10**16
BY = "chimera:local"
TENANT = "default"
_KEEPER = "0x" + "5a" * 20
"""Where the shop's money goes. Nobody has a key of it."""


def local_policy() -> PaymentPolicy:
    """Up to ten cents a day alone, up to five dollars with one human, up to twenty with two; fees in local coins."""
    return PaymentPolicy(
        assets={LOCAL_DOLLAR.id: Steps(auto=DOLLAR // 10, one=5 * DOLLAR, two=20 * DOLLAR, fee_cap=COINS)},
        fee_assets={COIN.id: COINS},
        new_payee=Level.ONE,
        production=False,
        scripted=True,
    )


def local_setup(settings: Settings, goods: dict[str, object] | None = None) -> PaymentSetup:
    """The choices of an installation in which nothing about payments was chosen. ``goods``: what the shop sells.

    Raises:
        ExtraMissing: the packages of the extra ``commerce`` are not installed. InputError: others can read the key.
    """
    folder = settings.home / "payments"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    key = load_key(folder / "cfo.key")
    return PaymentSetup(local_policy(), cfo_key=key, rails=_Rails(folder, goods or GOODS, str(key.address)).open)


@asynccontextmanager
async def open_local_chain(folder: Path) -> "AsyncGenerator[EmbeddedChain]":
    """The local chain of a folder, for this process alone.

    Raises:
        ConflictError: another process has it. ExtraMissing: its packages are not installed.
    """
    with alone(folder):
        try:
            tester = await asyncio.to_thread(new_tester)
        except ImportError:
            raise ExtraMissing(
                "the local chain needs the extra 'commerce'", remedy="pip install 'chimera-swarm[commerce]'"
            ) from None
        kept = await asyncio.to_thread(Kept, folder / "chain.db")
        try:
            yield await asyncio.to_thread(kept_chain, tester, kept)
        finally:
            kept.close()


class _Rails:
    """Opens what pays on the local chain."""

    def __init__(self, folder: Path, goods: dict[str, object], cfo: str) -> None:
        self._folder = folder
        self._goods = goods
        self._cfo = cfo

    @asynccontextmanager
    async def open(self, services: Installed, desk: Deciding) -> AsyncGenerator[Opened]:
        """Open the chain, the signer and the shop, beside each other."""
        from chimera.commerce.x402.evm import Web3Evm
        from chimera.commerce.x402.facilitating import LocalFacilitator
        from chimera.commerce.x402.offers import Shop, Token
        from chimera.commerce.x402.sales import SaleStore
        from chimera.commerce.x402.selling import Price, Till
        from chimera.commerce.x402.used import TokenChain

        async with AsyncExitStack() as stack:
            chain = await stack.enter_async_context(open_local_chain(self._folder))
            signer = await stack.enter_async_context(started_signer(self._folder / "signer", self._cfo, LOCAL_CHAIN))
            minter, cashier = (str(each) for each in (await chain.w3.eth.accounts)[:2])
            await _deployed(chain)
            await _booked(services)
            token = Token(LOCAL_DOLLAR, TOKEN_NAME, TOKEN_VERSION)
            till_evm = Web3Evm(chain.w3, LOCAL_CHAIN, cashier)
            till = Till(SaleStore(services.pool), LocalFacilitator(till_evm, cashier), TokenChain(till_evm, 1))
            price = Price(token, checksummed(_KEEPER), PRICE, "a report of the sample shop")
            origin = await stack.enter_async_context(open_shop(self._goods, price, till))
            market = Market(
                chain,
                Web3Evm(chain.w3, LOCAL_CHAIN, minter),
                signer,
                [Shop(origin, token, checksummed(_KEEPER), 5 * DOLLAR)],
                Patience(depth=1, poll_s=0.2, pay_s=60.0),
                _Faucet(chain, Web3Evm(chain.w3, LOCAL_CHAIN, minter)).fill,
            )
            async with open_rails(services, desk, market) as opened:
                yield opened


class _Faucet:
    """Puts money into wallets that have little: it is worth nothing."""

    def __init__(self, chain: "EmbeddedChain", evm: "Web3Evm") -> None:
        self._chain = chain
        self._evm = evm
        self._turn = asyncio.Lock()

    async def fill(self, address: str) -> None:
        """Fill a wallet up."""
        from chimera.commerce.vault.contracts import built

        async with self._turn:
            if await self._chain.balance(LOCAL_DOLLAR.address, address) < FUNDS // 2:
                data = built("PaidToken").call("mint", address, FUNDS)
                await self._evm.mined(await self._evm.send(str(LOCAL_DOLLAR.address), data))
            if await self._chain.balance(None, address) < COINS:
                await self._chain.fund(address, 10 * COINS)


async def _deployed(chain: "EmbeddedChain") -> None:
    """See that the token is there.

    Raises:
        ConfigError: the first contract of the chain is another one.
    """
    from chimera.commerce.vault.contracts import built

    if await chain.head() == 0:
        await chain.deploy(built("PaidToken").creation(TOKEN_NAME, LOCAL_DOLLAR.symbol, TOKEN_VERSION, 6))
    from web3 import Web3

    if not await chain.w3.eth.get_code(Web3.to_checksum_address(str(LOCAL_DOLLAR.address))):
        raise ConfigError(
            "the local chain was begun in another way", remedy="Remove payments/chain.db in CHIMERA_HOME."
        )


async def _booked(services: Installed) -> None:
    """See that the books know the assets, the shop and a budget; what somebody set stays as it is."""
    assets = AssetStore(services.pool, services.audit)
    for asset in (COIN, LOCAL_DOLLAR):
        await assets.add(asset, BY)
    payees = PayeeBook(services.pool, services.audit)
    await payees.add(TENANT, SHOP, checksummed(_KEEPER), BY, chain_id=LOCAL_CHAIN)
    budgets = BudgetStore(services.pool, assets, services.audit)
    for asset, cap in ((LOCAL_DOLLAR, BUDGET), (COIN, 100 * COINS)):
        if not any(found.asset == asset.id for found in await budgets.listed(TENANT)):
            await budgets.set(Limit(TENANT, "tenant", "", asset, cap), BY)
