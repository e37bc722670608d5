"""What left each wallet by the chain alone, for ``chimera ledger reconcile``.

Tokens: the Transfer events from the wallet to anybody, less those that come back from somebody whom it had paid. The
chain's coin has no events: there, the receipts of what we signed say what was spent, and the wallet's nonce says that
there is nothing else; when there is, nobody can say what it cost, and that is an error.
"""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager

from chimera.commerce.assets import Asset, AssetStore
from chimera.commerce.chain.port import Chain, Transfer
from chimera.commerce.chain.rpc import connect_chain
from chimera.commerce.reconcile import ChainTotal
from chimera.commerce.wallet.calldata import Moves
from chimera.commerce.wallet.rules import read_raw
from chimera.commerce.wallets import Wallet, WalletStore
from chimera.core.errors import ConfigError, WalletQuarantined
from chimera.core.settings import Settings
from chimera.store.audit import AuditLog
from chimera.store.postgres import Pool, fetch

BLOCKS_AT_ONCE = 5_000
_OF_WALLET = """
    SELECT t.hash, t.raw FROM chain_transactions AS t JOIN wallet_nonces AS n ON n.intent = t.intent
    WHERE n.chain_id = %s AND n.address = %s ORDER BY n.nonce, t.place
"""


class WalletTotals:
    """A :class:`~chimera.commerce.reconcile.ChainTotals` of one chain. ``since``: its first block that can matter."""

    def __init__(
        self, pool: Pool, assets: AssetStore, wallets: WalletStore, chain: Chain, depth: int, since: int
    ) -> None:
        self._pool = pool
        self._assets = assets
        self._wallets = wallets
        self._chain = chain
        self._depth = depth
        self._since = since

    async def totals(self, tenant: str) -> Sequence[ChainTotal]:
        """What left each wallet of a tenant, of every asset of the chain, up to the newest final block.

        Raises:
            WalletQuarantined: somebody else has used the key of a wallet. ChainDown. ChainDisagrees.
        """
        upto = await self._chain.head() - self._depth + 1
        assets = [asset for asset in await self._assets.listed() if asset.chain_id == self._chain.chain_id]
        found: list[ChainTotal] = []
        for wallet in await self._wallets.listed(self._chain.chain_id, tenant):
            for asset in assets:
                spent = (
                    await self._coin(wallet, upto) if asset.address is None else await self._token(wallet, asset, upto)
                )
                if spent:
                    found.append(ChainTotal(wallet.agent, asset.id, spent))
        return found

    async def _coin(self, wallet: Wallet, upto: int) -> int:
        """Coins that went with payments, and fees of all of them, by the receipts of what was signed."""
        used, spent, mined = await self._chain.nonce(wallet.address), 0, 0
        for row in await fetch(self._pool, _OF_WALLET, (wallet.chain_id, wallet.address)):
            receipt = await self._chain.receipt(str(row["hash"]))
            if receipt is None:
                continue
            mined += 1
            if receipt.block <= upto:
                moves: Moves = read_raw(bytes(row["raw"]))[4]
                spent += receipt.fee + (moves.amount if moves.token is None and receipt.ok else 0)
        if used > mined + await self._before(wallet):
            raise WalletQuarantined(
                f"{used - mined} transactions of {wallet.address} are on the chain that were not signed for a payment",
                wallet=wallet.address,
            )
        return spent

    async def _before(self, wallet: Wallet) -> int:
        """How many transactions the wallet had before it was ours: those below its first nonce."""
        query = "SELECT min(nonce) AS first FROM wallet_nonces WHERE chain_id = %s AND address = %s"
        (row,) = await fetch(self._pool, query, (wallet.chain_id, wallet.address))
        return int(row["first"] if row["first"] is not None else wallet.next_nonce)

    async def _token(self, wallet: Wallet, asset: Asset, upto: int) -> int:
        """Units that the token's events say went, less those that came back from those who got them."""
        went: list[Transfer] = []
        came: list[Transfer] = []
        for start in range(self._since, upto + 1, BLOCKS_AT_ONCE):
            end = min(start + BLOCKS_AT_ONCE - 1, upto)
            went += await self._chain.transfers(str(asset.address), start, end, sender=wallet.address)
            came += await self._chain.transfers(str(asset.address), start, end, payee=wallet.address)
        paid = {each.payee for each in went}
        return sum(each.amount for each in went) - sum(each.amount for each in came if each.sender in paid)


@asynccontextmanager
async def totals_of(settings: Settings, pool: Pool, audit: AuditLog) -> AsyncGenerator[WalletTotals | None]:
    """What the chain of the settings says, or the local one, where something was paid on it; None where there is none.

    Raises:
        ConfigError: endpoints without the id of their chain, or of another one. ChainDown. ExtraMissing.
    """
    if not settings.chain_endpoints:
        async with _local(settings, pool, audit) as totals:
            yield totals
        return
    if settings.chain_id is None:
        raise ConfigError("chain_endpoints need chain_id", remedy="Set CHIMERA_CHAIN_ID to the id of their chain.")
    urls = [url.get_secret_value() for url in settings.chain_endpoints]
    chain = await connect_chain(urls, settings.chain_id)
    try:
        wallets, assets = WalletStore(pool, audit), AssetStore(pool, audit)
        yield WalletTotals(pool, assets, wallets, chain, settings.chain_depth, settings.chain_since)
    finally:
        await chain.close()


@asynccontextmanager
async def _local(settings: Settings, pool: Pool, audit: AuditLog) -> AsyncGenerator[WalletTotals | None]:
    folder = settings.home / "payments"
    if not await asyncio.to_thread((folder / "chain.db").exists):
        yield None
        return
    from chimera.commerce.local.setup import open_local_chain

    async with open_local_chain(folder) as chain:
        yield WalletTotals(pool, AssetStore(pool, audit), WalletStore(pool, audit), chain, 1, 0)
