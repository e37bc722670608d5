"""Requests to sellers: bounded in time and size, never redirected, and nothing of the payer's besides the payment."""

import asyncio
from dataclasses import dataclass

import httpx

from chimera.commerce.x402.journal import Goods, Request
from chimera.commerce.x402.offers import origin_of
from chimera.commerce.x402.wire import REQUIRED, SIGNATURE
from chimera.core.errors import OfferRefused

MOST_GOODS_BYTES = 2_000_000
ANSWER_S = 30.0
_MEDIA_CHARS = 200
_PAYMENT_REQUIRED = 402
_REDIRECTS = range(300, 400)


@dataclass(frozen=True)
class Answer:
    """What a seller answered. ``required``: the header that asks for a payment, with status 402."""

    status: int
    goods: Goods
    required: str = ""

    @property
    def delivered(self) -> bool:
        """Whether the goods came."""
        return 200 <= self.status < 300

    @property
    def wants_payment(self) -> bool:
        """Whether he asks for a payment."""
        return self.status == _PAYMENT_REQUIRED


class Asker:
    """Asks sellers. ``client``: without cookies and credentials of its own."""

    def __init__(
        self, client: httpx.AsyncClient, answer_s: float = ANSWER_S, most_bytes: int = MOST_GOODS_BYTES
    ) -> None:
        self._client = client
        self._answer_s = answer_s
        self._most = most_bytes

    async def ask(self, request: Request, header: str = "") -> Answer | None:
        """Ask, with a payment or without; None when nothing came back, and so nobody knows what happened there.

        Raises:
            OfferRefused: the URL cannot be meant, or the seller answers too much, or sends us elsewhere.
        """
        origin_of(request.url)
        headers = {SIGNATURE: header} if header else {}
        try:
            async with (
                asyncio.timeout(self._answer_s),
                self._client.stream(
                    request.method, request.url, content=request.body, headers=headers, follow_redirects=False
                ) as response,
            ):
                body = await self._body(response)
        except (httpx.HTTPError, TimeoutError, httpx.InvalidURL):
            return None
        if response.status_code in _REDIRECTS:
            raise OfferRefused("the seller sends us elsewhere; a payment is not taken along", rule="redirect")
        media = response.headers.get("content-type", "")[:_MEDIA_CHARS]
        return Answer(
            response.status_code,
            Goods(response.status_code, media, body),
            response.headers.get(REQUIRED, ""),
        )

    async def _body(self, response: httpx.Response) -> bytes:
        found = bytearray()
        async for part in response.aiter_bytes():
            found += part
            if len(found) > self._most:
                raise OfferRefused(f"the seller answers more than {self._most:,} bytes", rule="size")
        return bytes(found)
