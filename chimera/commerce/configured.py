"""Payments as the settings say: on the local chain, or as a file says what decides, who signs, and where is bought."""

import tomllib
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, ValidationError

from chimera.commerce.assets import USD, AssetStore
from chimera.commerce.compliance import load_lists
from chimera.commerce.deciding import Deciding
from chimera.commerce.ledger import Ledger
from chimera.commerce.payment_policy import read_policy
from chimera.commerce.rails.orders import Coinbase, Stripe
from chimera.commerce.rails.paying import Rail
from chimera.commerce.setup import Installed, Opened, PaymentSetup
from chimera.core.contracts import Contract
from chimera.core.errors import ConfigError
from chimera.core.invalid import first_problem
from chimera.core.settings import Settings

if TYPE_CHECKING:
    from chimera.commerce.chain.rpc import RpcChain
    from chimera.commerce.x402.compared import ComparedEvm
    from chimera.commerce.x402.offers import Shop
    from chimera.commerce.x402.selling import PaidEndpoint

LOCAL = "local"
Text = Annotated[str, Field(min_length=1, max_length=300)]


class ShopLine(Contract):
    """A shop that may be bought at. ``asset``: the id of a token; ``most``: for one purchase, such as ``5.00``."""

    origin: Text
    asset: Text
    pay_to: Text
    most: Text
    token_name: Text
    token_version: Text


class ServiceLine(Contract):
    """A payment service behind a tool server, in its test mode. ``prices``: in USD, by what can be bought there."""

    kind: Literal["stripe", "coinbase"]
    server: Text
    prices: dict[Text, Text]


class SaleLine(Contract):
    """What the server sells: missions, worked in the name of ``by`` in a tenant.

    ``facilitator``: whose service checks and makes the payments.
    """

    path: Annotated[str, Field(pattern=r"^/paid/[a-z0-9][a-z0-9/-]{0,80}$")] = "/paid/missions"
    tenant: Text
    by: Text
    price: Text
    asset: Text
    token_name: Text
    token_version: Text
    pay_to: Text
    facilitator: Text
    description: Text = "a mission, worked and judged"


class PaymentsFile(Contract):
    """The file. Paths are as seen from its folder. With neither signer nor services, no payment is made.

    ``sells``: what ``chimera serve`` offers for money.
    """

    policy: Path
    lists: list[Path] = Field(default_factory=list[Path])
    cfo_socket: Path
    cfo_address: Text
    signer_socket: Path | None = None
    shops: list[ShopLine] = Field(default_factory=list[ShopLine])
    services: list[ServiceLine] = Field(default_factory=list[ServiceLine])
    sells: list[SaleLine] = Field(default_factory=list[SaleLine])


def configured_payments(settings: Settings) -> PaymentSetup:
    """The choices of the settings; reads files.

    Raises:
        ConfigError: the file cannot be read, or cannot be meant. ExtraMissing: the extra ``commerce`` is not installed.
    """
    if settings.payments == LOCAL:
        from chimera.commerce.local.setup import local_setup

        return local_setup(settings)
    place = Path(settings.payments).expanduser()
    told = read_payments(place)
    folder = place.parent
    return PaymentSetup(
        read_policy(folder / told.policy),
        lists=load_lists(*(folder / each for each in told.lists)) if told.lists else None,
        cfo_socket=folder / told.cfo_socket,
        cfo_address=told.cfo_address,
        signer_socket=folder / told.signer_socket if told.signer_socket else None,
        rails=_rails(told, folder) if told.signer_socket or told.services or told.sells else None,
    )


def read_payments(place: Path) -> PaymentsFile:
    """What a file says of payments.

    Raises:
        ConfigError: it cannot be read, or cannot be meant.
    """
    try:
        return PaymentsFile.model_validate(tomllib.loads(place.read_text("utf-8")))
    except ValidationError as error:
        raise ConfigError(f"{place.name}: {first_problem(error, 'payments')}") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(
            f"CHIMERA_PAYMENTS: {place} cannot be read: {type(error).__name__}",
            remedy="Name a TOML file as docs/payments.md has it, or say 'local'.",
        ) from None


def _rails(told: PaymentsFile, folder: Path) -> "Callable[[Installed, Deciding], AbstractAsyncContextManager[Opened]]":
    @asynccontextmanager
    async def opened(services: Installed, desk: Deciding) -> AsyncGenerator[Opened]:
        from chimera.commerce.paying import Patience
        from chimera.commerce.rails.choosing import Rails
        from chimera.commerce.rails.opening import Market, open_rails
        from chimera.commerce.spending import Spending
        from chimera.commerce.wallet.client import SignerClient

        settings, ways = services.settings, await _services(told, services, desk.ledger)
        without_signer = Opened(Rails(desk.ledger, services=ways), Spending(desk, None))
        if told.signer_socket is None and not told.sells:
            yield without_signer
            return
        async with _connected(settings) as (chain, evm), _selling(told, services, evm) as sells:
            if told.signer_socket is None:
                yield replace(without_signer, sells=sells)
                return
            shops = await _shops(told, services)
            signer = SignerClient(folder / told.signer_socket)
            market = Market(chain, evm, signer, shops, Patience(depth=settings.chain_depth), services=ways)
            async with open_rails(services, desk, market) as rails:
                yield replace(rails, sells=sells)

    return opened


@asynccontextmanager
async def _connected(settings: Settings) -> "AsyncGenerator[tuple[RpcChain, ComparedEvm]]":
    """The chain of the settings, as payments see it and as authorisations do."""
    from chimera.commerce.chain.rpc import connect_chain
    from chimera.commerce.x402.compared import ComparedEvm
    from chimera.commerce.x402.evm import Web3Evm

    if not settings.chain_endpoints or settings.chain_id is None:
        raise ConfigError(
            "a signer, and what is sold, need a chain", remedy="Set CHIMERA_CHAIN_ENDPOINTS and CHIMERA_CHAIN_ID."
        )
    chain = await connect_chain([url.get_secret_value() for url in settings.chain_endpoints], settings.chain_id)
    try:
        yield chain, ComparedEvm([Web3Evm(each, settings.chain_id) for each in chain.endpoints])
    finally:
        await chain.close()


@asynccontextmanager
async def _selling(told: PaymentsFile, services: Installed, evm: "ComparedEvm") -> "AsyncGenerator[list[PaidEndpoint]]":
    """What the server sells."""
    from chimera.commerce.addresses import checked_address, checksummed
    from chimera.commerce.x402.facilitating import remote_facilitator
    from chimera.commerce.x402.offers import Token
    from chimera.commerce.x402.sales import SaleStore
    from chimera.commerce.x402.selling import PaidEndpoint, Price, Till
    from chimera.commerce.x402.used import TokenChain

    assets, found = AssetStore(services.pool, services.audit), list[PaidEndpoint]()
    async with AsyncExitStack() as stack:
        for line in told.sells:
            asset = await assets.get(line.asset)
            token, pay_to = Token(asset, line.token_name, line.token_version), checksummed(checked_address(line.pay_to))
            facilitator = await stack.enter_async_context(remote_facilitator(line.facilitator))
            till = Till(SaleStore(services.pool), facilitator, TokenChain(evm, services.settings.chain_depth))
            price = Price(token, pay_to, asset.units(line.price), line.description)
            found.append(PaidEndpoint(line.path, line.tenant, line.by, price, till))
        yield found


async def _services(told: PaymentsFile, services: Installed, ledger: Ledger) -> dict[str, Rail]:
    """The rails outside of chains, by the word that their payees begin with."""
    found: dict[str, Rail] = {}
    for line in told.services:
        if services.call_tool is None:
            raise ConfigError("payment services need tool servers, and there are none here")
        dollars = await ledger.assets.get(USD)
        prices = {name: dollars.units(price) for name, price in line.prices.items()}
        route = (Stripe if line.kind == "stripe" else Coinbase)(prices, line.server)
        found[line.kind] = Rail(ledger, route, services.call_tool)
    return found


async def _shops(told: PaymentsFile, services: Installed) -> "list[Shop]":
    from chimera.commerce.x402.offers import Shop, Token

    assets = AssetStore(services.pool, services.audit)
    found: list[Shop] = []
    for line in told.shops:
        asset = await assets.get(line.asset)
        token = Token(asset, line.token_name, line.token_version)
        found.append(Shop(line.origin, token, line.pay_to, asset.units(line.most)))
    return found
