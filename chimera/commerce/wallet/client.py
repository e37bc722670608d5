"""The signer as payments see it: a port, and the client of the process behind it."""

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from chimera.commerce.wallet.authorizing import AuthorizeRequest, write_authorize
from chimera.commerce.wallet.request import (
    LENGTH_BYTES,
    MOST_BYTES,
    Signed,
    SignRequest,
    frame,
    read_signed,
    write_request,
)
from chimera.core.errors import SignerDown, SignerRefused

ANSWER_S = 10.0
"""The longest wait for an answer: a transaction of the database is open meanwhile."""


class Signer(Protocol):
    """Signs payments that were approved, and nothing else."""

    async def address(self, tenant: str, agent: str) -> str:
        """The address of an agent's wallet, with its checksum."""
        ...

    async def sign_payment(self, request: SignRequest) -> Signed:
        """The signed transaction of a payment.

        Raises:
            SignerRefused: it is not signed. SignerDown: nobody answers; it may have been signed.
        """
        ...


class SignerClient:
    """Asks the signer's process, one thing at a time on one connection, which is made anew when it is lost."""

    def __init__(self, place: Path, answer_s: float = ANSWER_S) -> None:
        self._place = place
        self._answer_s = answer_s
        self._turn = asyncio.Lock()
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def address(self, tenant: str, agent: str) -> str:
        """The address of an agent's wallet, with its checksum.

        Raises:
            SignerDown: nobody answers.
        """
        return str((await self._ask({"call": "address", "tenant": tenant, "agent": agent}))["address"])

    async def sign_payment(self, request: SignRequest) -> Signed:
        """The signed transaction of a payment.

        Raises:
            SignerRefused: it is not signed. SignerDown: nobody answers; it may have been signed.
        """
        return read_signed((await self._ask(write_request(request)))["signed"])

    async def sign_authorization(self, request: AuthorizeRequest) -> bytes:
        """The signature (r, s, v) under the authorisation of a payment, or under its cancellation.

        Raises:
            SignerRefused: it is not signed. SignerDown: nobody answers; it may have been signed, and is the same again.
        """
        return bytes.fromhex((await self._ask(write_authorize(request)))["signature"])

    async def close(self) -> None:
        """Close the connection."""
        if self._streams is not None:
            writer, self._streams = self._streams[1], None
            writer.close()

    async def _ask(self, message: Mapping[str, Any]) -> dict[str, Any]:
        asked = frame(message)
        async with self._turn:
            try:
                async with asyncio.timeout(self._answer_s):
                    if self._streams is None:
                        self._streams = await asyncio.open_unix_connection(self._place)
                    reader, writer = self._streams
                    writer.write(asked)
                    await writer.drain()
                    length = int.from_bytes(await reader.readexactly(LENGTH_BYTES), "big")
                    answer = json.loads(await reader.readexactly(min(length, 2 * MOST_BYTES)))
            except (OSError, TimeoutError, asyncio.IncompleteReadError, ValueError) as error:
                await self.close()
                raise SignerDown(f"the signer does not answer: {type(error).__name__}") from None
            except BaseException:  # cancelled in the middle: the next answer on it would be that of this question
                await self.close()
                raise
        if "refused" in answer:
            raise SignerRefused(str(answer["refused"]), **dict(answer.get("context", {})))
        return dict(answer)
