"""A paid endpoint: ASGI middleware that asks for a payment, makes it, and gives the goods for it as often as asked.

The answer is made and kept first, then the payment is made, then the answer is given. Whoever loses it asks again with
the same authorisation and gets the same answer; with another request the authorisation buys nothing. An answer that is
an error costs nothing.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from chimera.commerce.x402.authorization import Authorization
from chimera.commerce.x402.journal import Goods
from chimera.commerce.x402.offers import EIP3009, Token
from chimera.commerce.x402.ports import Facilitate
from chimera.commerce.x402.sales import Coupon, Sale, SaleStore, request_digest
from chimera.commerce.x402.used import Fate, TokenChain
from chimera.commerce.x402.wire import (
    EXACT,
    REQUIRED,
    RESPONSE,
    SIGNATURE,
    read_payload,
    required_of,
    requirements_of,
    settled_of,
    write_required,
    write_settled,
)
from chimera.core.errors import ChimeraError, OfferRefused

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.types import ASGIApp, Message, Receive, Scope, Send
    from x402.schemas import PaymentPayload, PaymentRequirements

VALID_S = 120
MOST_BODY_BYTES = 1_000_000
MOST_ANSWER_BYTES = 2_000_000
RETRY_S = 2
ORDER = "chimera.order"
"""Where in the ASGI scope the application behind a price finds which order it is: one of one authorisation."""
_ERROR = 400


@dataclass(frozen=True)
class Price:
    """What one request costs, in atomic units, and to whom it is paid."""

    token: Token
    pay_to: str
    units: int
    description: str

    def requirements(self) -> "PaymentRequirements":
        """What is asked for."""
        return requirements_of(
            {
                "scheme": EXACT,
                "network": self.token.network,
                "asset": self.token.address,
                "amount": str(self.units),
                "payTo": self.pay_to,
                "maxTimeoutSeconds": VALID_S,
                "extra": {"name": self.token.name, "version": self.token.version, "assetTransferMethod": EIP3009},
            }
        )


@dataclass(frozen=True)
class Till:
    """What takes the payments."""

    sales: SaleStore
    facilitator: Facilitate
    chain: TokenChain


@dataclass(frozen=True)
class PaidEndpoint:
    """A service that is sold at a path. ``tenant`` and ``by``: in whose name it is done, for whoever pays."""

    path: str
    tenant: str
    by: str
    price: Price
    till: Till


@dataclass(frozen=True)
class _Asked:
    """A request with its body, and what it is paid with."""

    scope: "Scope"
    body: bytes
    payload: "PaymentPayload"
    authorization: Authorization
    coupon: Coupon


class Paid:
    """Puts a price before an application."""

    def __init__(self, app: "ASGIApp", price: Price, till: Till) -> None:
        self._app = app
        self._price = price
        self._till = till

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        header = _header(scope, SIGNATURE)
        if not header:
            await self._ask(scope, send, "a payment is required")
            return
        body = await _body(receive)
        if body is None:
            await _answer(send, Goods(413, "text/plain", b"too large"), {})
            return
        try:
            asked = self._read(scope, body, header)
            sale = await self._till.sales.claim(asked.coupon)
            await (self._serve(asked, send) if sale is None else self._again(asked, sale, send))
        except OfferRefused as error:
            await self._ask(scope, send, error.message)
        except ChimeraError:
            await _later(send)

    # --- what is asked for ---------------------------------------------------------------------------------------

    async def _ask(self, scope: "Scope", send: "Send", why: str) -> None:
        asked = required_of(self._price.requirements(), _target(scope), self._price.description, why)
        await _answer(send, Goods(402, "application/json", b"{}"), {REQUIRED: write_required(asked)})

    def _read(self, scope: "Scope", body: bytes, header: str) -> _Asked:
        """The payment of a request.

        Raises:
            OfferRefused: it is not what is asked for.
        """
        payload, price = read_payload(header), self._price
        wanted = price.requirements()
        for name in ("scheme", "network", "asset", "amount", "pay_to"):
            if str(getattr(payload.accepted, name)).casefold() != str(getattr(wanted, name)).casefold():
                raise OfferRefused(f"the payment is for another {name.replace('_', ' ')}")
        signed = _authorization(payload.payload, price.token)
        if (signed.payee.casefold(), signed.amount) != (price.pay_to.casefold(), price.units):
            raise OfferRefused("the payment is for another payee or amount")
        request = request_digest(scope["method"], _target(scope), body)
        coupon = Coupon(price.token.asset.id, signed.payer.lower(), signed.nonce, request, signed.amount)
        return _Asked(scope, body, payload, signed, coupon)

    # --- selling -------------------------------------------------------------------------------------------------

    async def _serve(self, asked: _Asked, send: "Send") -> None:
        """Make the answer, keep it, make the payment, give the answer."""
        try:
            found = await self._till.facilitator.verify(asked.payload, self._price.requirements())
            if not found.is_valid:
                raise OfferRefused(f"the payment cannot be made: {found.invalid_reason or 'unknown'}")
            goods = await self._make(asked)
        except BaseException:
            await self._till.sales.drop(asked.coupon)
            raise
        if goods.status >= _ERROR:
            await self._till.sales.drop(asked.coupon)
            await _answer(send, goods, {})
            return
        await self._till.sales.made(asked.coupon, goods)
        await self._settle(asked, goods, send)

    async def _again(self, asked: _Asked, sale: Sale, send: "Send") -> None:
        """The same authorisation once more."""
        if sale.request != asked.coupon.request:
            raise OfferRefused("the payment was made for another request")
        if sale.goods is None:
            await _later(send)
        elif sale.state == "settled" and await self._till.chain.stands(asked.authorization):
            await self._give(asked, sale.goods, sale.transaction, send)
        else:
            await self._settle(asked, sale.goods, send)

    async def _settle(self, asked: _Asked, goods: Goods, send: "Send") -> None:
        """Make the payment, unless it was made before; what the token says counts.

        Raises:
            OfferRefused: it cannot be made. ChimeraError: nobody knows yet.
        """
        use = await self._till.chain.fate(asked.authorization)
        transaction = use.transaction if use.fate == Fate.PAID else ""
        if use.fate == Fate.OPEN:
            made = await self._till.facilitator.settle(asked.payload, self._price.requirements())
            if made.success:
                transaction = made.transaction
            elif (use := await self._till.chain.fate(asked.authorization)).fate == Fate.PAID:
                transaction = use.transaction
            elif use.fate == Fate.OPEN:
                await _later(send)
                return
        if not transaction:
            await self._till.sales.drop(asked.coupon)
            raise OfferRefused("the payment was not made: it was used up or its time is over")
        await self._till.sales.settled(asked.coupon, transaction)
        await self._give(asked, goods, transaction, send)

    async def _give(self, asked: _Asked, goods: Goods, transaction: str, send: "Send") -> None:
        receipt = settled_of(transaction, self._price.token.network, asked.authorization.payer)
        await _answer(send, goods, {RESPONSE: write_settled(receipt)})

    async def _make(self, asked: _Asked) -> Goods:
        """The answer of the application.

        Raises:
            OfferRefused: it is too large to be kept.
        """
        made, status, media = bytearray(), 500, ""
        unread = [True]

        async def receive() -> "Message":
            more = unread.pop() if unread else False
            return {"type": "http.request", "body": asked.body if more else b"", "more_body": False}

        async def keep(message: "Message") -> None:
            nonlocal status, media
            if message["type"] == "http.response.start":
                status = int(message["status"])
                media = _named(message.get("headers", []), b"content-type")
            elif message["type"] == "http.response.body":
                made.extend(message.get("body", b""))
                if len(made) > MOST_ANSWER_BYTES:
                    raise OfferRefused("the answer is too large to be sold")

        # The same authorisation is the same order, also when the answer got lost before it was kept.
        await self._app({**asked.scope, ORDER: asked.coupon.order}, receive, keep)
        return Goods(status, media, bytes(made))


def _authorization(signed: "Mapping[str, Any]", token: Token) -> Authorization:
    """What was signed.

    Raises:
        OfferRefused: it is no EIP-3009 authorisation.
    """
    try:
        said = signed["authorization"]
        nonce = bytes.fromhex(str(said["nonce"]).removeprefix("0x"))
        payer, payee = str(said["from"]), str(said["to"])
        numbers = [int(str(said[name])) for name in ("value", "validBefore", "validAfter")]
        places = [bytes.fromhex(address.removeprefix("0x")) for address in (payer, payee)]
    except (KeyError, TypeError, ValueError):
        raise OfferRefused("the payment is no signed authorisation") from None
    if len(nonce) != 32 or any(len(place) != 20 for place in places) or min(numbers) < 0:
        raise OfferRefused("the payment is no signed authorisation")
    return Authorization(token, payer, payee, numbers[0], numbers[1], nonce, numbers[2])


async def _body(receive: "Receive") -> bytes | None:
    found = bytearray()
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return bytes(found)
        found += message.get("body", b"")
        if len(found) > MOST_BODY_BYTES:
            return None
        if not message.get("more_body", False):
            return bytes(found)


async def _later(send: "Send") -> None:
    await _answer(send, Goods(503, "text/plain", b"ask again with the same payment"), {"Retry-After": str(RETRY_S)})


async def _answer(send: "Send", goods: Goods, headers: dict[str, str]) -> None:
    told = {"Content-Type": goods.media_type or "application/octet-stream", "Content-Length": str(len(goods.body))}
    pairs = [(name.lower().encode(), value.encode("latin-1")) for name, value in (told | headers).items()]
    await send({"type": "http.response.start", "status": goods.status, "headers": pairs})
    await send({"type": "http.response.body", "body": goods.body})


def _header(scope: "Scope", name: str) -> str:
    return _named(scope["headers"], name.lower().encode())


def _named(headers: Any, name: bytes) -> str:
    return next((bytes(value).decode("latin-1") for key, value in headers if bytes(key).lower() == name), "")


def _target(scope: "Scope") -> str:
    query = bytes(scope.get("query_string", b"")).decode("latin-1")
    return scope["path"] + (f"?{query}" if query else "")
