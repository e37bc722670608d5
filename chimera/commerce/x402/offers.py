"""What a seller asks for, and whether it may be paid at all.

A seller says what he likes, and something else at each request. So nothing that he says is signed: what is paid, to
whom and under which name of a token comes from the operator's list of shops, and his offer has to agree with it.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from chimera.commerce.addresses import checked_address
from chimera.commerce.assets import Asset
from chimera.commerce.x402.wire import EXACT, read_required
from chimera.core.errors import InputError, OfferRefused
from chimera.core.money import UNITS_END

if TYPE_CHECKING:
    from x402.schemas import PaymentRequirements

_UNITS = re.compile(r"[1-9][0-9]{0,29}")
_ADDRESS = re.compile(r"0x[0-9a-fA-F]{40}")
EIP3009 = "eip3009"


@dataclass(frozen=True)
class Token:
    """A token that takes signed authorisations (EIP-3009). ``name``, ``version``: of its EIP-712 domain."""

    asset: Asset
    name: str
    version: str

    @property
    def network(self) -> str:
        """The chain, as CAIP-2 writes it."""
        return f"eip155:{self.asset.chain_id}"

    @property
    def address(self) -> str:
        """The contract's address.

        Raises:
            InputError: it has none.
        """
        if self.asset.address is None:
            raise InputError(f"{self.asset.id} is no token", remedy="Name a token that takes signed authorisations.")
        return self.asset.address


@dataclass(frozen=True)
class Shop:
    """A line of the list: at this origin (``https://data.example.com``), this token may be paid to this address.

    ``most_units``: the most that one purchase may cost.
    """

    origin: str
    token: Token
    pay_to: str
    most_units: int


@dataclass(frozen=True)
class Offer:
    """An offer that agrees with a line of the list. ``asked``: the seller's words, which the payment refers to."""

    shop: Shop
    amount: int
    valid_s: int
    asked: dict[str, Any]

    def same_as(self, asked: dict[str, Any]) -> bool:
        """Whether an offer that was taken before asks for the same."""
        return all(
            str(self.asked.get(name, "")).casefold() == str(asked.get(name, "")).casefold()
            for name in ("scheme", "network", "asset", "amount", "payTo")
        )


def check_shop(shop: Shop) -> None:
    """Let a line of the list pass that can be meant.

    Raises:
        InputError: it cannot.
    """
    if origin_of(shop.origin) != shop.origin:
        raise InputError(f"{shop.origin[:120]!r} is no origin", remedy="Write scheme, host and port alone.")
    checked_address(shop.pay_to)
    if not _ADDRESS.fullmatch(shop.token.address):
        raise InputError("a token has an address of 0x and 40 hexadecimal digits", remedy="Correct the shop.")
    if not 0 < shop.most_units < UNITS_END:
        raise InputError("the most that a purchase may cost is more than zero", remedy="Correct the shop.")


def origin_of(url: str) -> str:
    """Scheme, host and port of a URL; loopback may be plain HTTP, everything else is HTTPS.

    Raises:
        OfferRefused: it is no such URL.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise OfferRefused("that is no URL") from None
    plain = parts.scheme == "http" and host in ("127.0.0.1", "localhost", "::1")
    if not host or "@" in parts.netloc or not (parts.scheme == "https" or plain):
        raise OfferRefused("only https URLs without a user are paid for", remedy="Give the URL that the shop has.")
    name = f"[{host}]" if ":" in host else host
    standard = port is None or port == (443 if parts.scheme == "https" else 80)
    return f"{parts.scheme}://{name}" if standard else f"{parts.scheme}://{name}:{port}"


def choose(header: str, url: str, shops: Sequence[Shop]) -> Offer:
    """The cheapest of a seller's offers that the list allows.

    Raises:
        OfferRefused: none is allowed, or they cannot be read. The message repeats nothing that the seller wrote.
    """
    required = read_required(header)
    here = [shop for shop in shops if shop.origin == origin_of(url)]
    if not here:
        raise OfferRefused("the seller is not on the list of shops", rule="origin")
    found: list[Offer] = []
    reasons: set[str] = set()
    for asked in required.accepts:
        for shop in here:
            if reason := _wrong(asked, shop):
                reasons.add(reason)
            else:
                plain = asked.model_dump(by_alias=True, exclude_none=True)
                found.append(Offer(shop, int(asked.amount), asked.max_timeout_seconds, plain))
    if not found:
        raise OfferRefused(
            f"no offer of the seller is allowed: {', '.join(sorted(reasons)) or 'there is none'}",
            rule=sorted(reasons)[0] if reasons else "none",
        )
    return min(found, key=lambda offer: offer.amount)


def _wrong(asked: "PaymentRequirements", shop: Shop) -> str:
    """Which rule of the list an offer breaks; none is an empty text."""
    said = asked.extra
    token = shop.token
    if asked.scheme != EXACT or said.get("assetTransferMethod", EIP3009) != EIP3009:
        return "scheme"
    if asked.network != token.network:
        return "network"
    if asked.asset.casefold() != token.address.casefold():
        return "asset"
    if said.get("name", token.name) != token.name or said.get("version", token.version) != token.version:
        return "token"
    if asked.pay_to.casefold() != shop.pay_to.casefold():
        return "payee"
    if not _UNITS.fullmatch(asked.amount):
        return "amount"
    if int(asked.amount) > shop.most_units:
        return "price"
    return "" if asked.max_timeout_seconds > 0 else "time"
