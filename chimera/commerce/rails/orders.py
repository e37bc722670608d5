"""What a payment is on a rail: which tool is called with which arguments, for what is on the operator's list."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from chimera.commerce.intents import Intent
from chimera.core.errors import InputError, OfferRefused


@dataclass(frozen=True)
class Order:
    """A call of a tool. ``tool``: its full name, ``server__tool``."""

    tool: str
    arguments: dict[str, Any]


class Route(Protocol):
    """A payment service behind a tool server."""

    @property
    def name(self) -> str:
        """The rail, as payees begin: ``stripe:...``."""
        ...

    def probe(self) -> Order:
        """A call that changes nothing, whose answer shows whether this is test mode."""
        ...

    def order(self, intent: Intent) -> Order:
        """The call that pays.

        Raises:
            OfferRefused: the list does not have this payee at this price.
        """
        ...


@dataclass(frozen=True)
class Stripe:
    """Prices of a Stripe account. ``prices``: units of a payment by the price's id (a payee ``stripe:price_123``)."""

    prices: Mapping[str, int]
    server: str = "stripe"
    name: str = "stripe"

    def probe(self) -> Order:
        """Reads the balance."""
        return Order(f"{self.server}__get_balance", {})

    def order(self, intent: Intent) -> Order:
        """A checkout of one price.

        Raises:
            OfferRefused: the list does not have this price, or with another amount.
        """
        price = _payee(intent, self.name)
        if self.prices.get(price) != intent.asked.amount:
            raise OfferRefused(f"payment {intent.id} is not for a price of the list")
        return Order(f"{self.server}__create_checkout_session", {"price_id": price, "mode": "payment"})


@dataclass(frozen=True)
class Coinbase:
    """Resources that are paid in USDC through Coinbase's protocol. ``prices``: units by URL (``coinbase:https://...``)."""

    prices: Mapping[str, int]
    server: str = "coinbase"
    name: str = "coinbase"

    def probe(self) -> Order:
        """Lists the chains."""
        return Order(f"{self.server}__list_supported_chains", {})

    def order(self, intent: Intent) -> Order:
        """A challenge for one resource.

        Raises:
            OfferRefused: the list does not have this resource, or with another amount.
        """
        resource = _payee(intent, self.name)
        if self.prices.get(resource) != intent.asked.amount:
            raise OfferRefused(f"payment {intent.id} is not for a resource of the list")
        arguments = {"resource_url": resource, "amount_minor": intent.asked.amount, "currency": "USDC"}
        return Order(f"{self.server}__build_402_challenge", arguments)


def _payee(intent: Intent, rail: str) -> str:
    if intent.asked.chain_id is not None:
        raise InputError(f"payment {intent.id} is on a chain", remedy="Pay it from a wallet.")
    name, _, rest = intent.asked.payee.partition(":")
    if name != rail or not rest:
        raise OfferRefused(f"payment {intent.id} is not paid through {rail}")
    return rest
