"""The signer as purchases ask it: every wallet that it names is written down, so that the chain can be compared."""

from collections.abc import Awaitable, Callable

from chimera.commerce.chain.port import Chain
from chimera.commerce.wallet.authorizer import Authorizes
from chimera.commerce.wallet.authorizing import AuthorizeRequest
from chimera.commerce.wallets import WalletStore

Fund = Callable[[str], Awaitable[None]]


async def unfunded(address: str) -> None:
    """Put nothing into a wallet: its money comes from elsewhere."""


class KnownWallets:
    """Names wallets, writes each down when it is first named, and then has it funded. Signing is the signer's."""

    def __init__(self, signer: Authorizes, chain: Chain, wallets: WalletStore, fund: Fund = unfunded) -> None:
        """``fund``: puts money into a wallet; a local chain does."""
        self._signer = signer
        self._chain = chain
        self._wallets = wallets
        self._fund = fund
        self._known: dict[tuple[str, str], str] = {}

    async def address(self, tenant: str, agent: str) -> str:
        """The address of an agent's wallet, with its checksum."""
        place = (tenant, agent)
        if place not in self._known:
            address = await self._signer.address(tenant, agent)
            nonce = await self._chain.nonce(address)
            await self._wallets.add(self._chain.chain_id, address, tenant, agent, nonce)
            self._known[place] = address
        await self._fund(self._known[place])
        return self._known[place]

    async def sign_authorization(self, request: AuthorizeRequest) -> bytes:
        """The signature under the authorisation of a payment, or under its cancellation."""
        return await self._signer.sign_authorization(request)
