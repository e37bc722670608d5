"""What buys over x402 asks for signatures: the authorisation of a payment, by the signer, as the CFO approved it."""

from typing import Protocol

from chimera.commerce.intents import Intent
from chimera.commerce.wallet.approval import Signatures, approval_of
from chimera.commerce.wallet.authorizing import AuthorizeRequest, number_of
from chimera.core.errors import SignerRefused


class Token(Protocol):
    """A token as its EIP-712 domain names it."""

    @property
    def name(self) -> str:
        """Its name there."""
        ...

    @property
    def version(self) -> str:
        """Its version there."""
        ...


class Authorization(Protocol):
    """An EIP-3009 authorisation, as far as the payment does not say it already."""

    @property
    def token(self) -> Token:
        """What is paid with."""
        ...

    @property
    def valid_before(self) -> int:
        """Until when it is good: seconds since 1970."""
        ...

    @property
    def nonce(self) -> bytes:
        """Its number: that of the payment."""
        ...


class Authorizes(Protocol):
    """The signer, as far as authorisations need it."""

    async def address(self, tenant: str, agent: str) -> str:
        """The address of an agent's wallet, with its checksum."""
        ...

    async def sign_authorization(self, request: AuthorizeRequest) -> bytes:
        """The signature (r, s, v) under the authorisation of a payment, or under its cancellation."""
        ...


class Authorizer:
    """Has payments authorised by the signer."""

    def __init__(self, signer: Authorizes, signatures: Signatures) -> None:
        self._signer = signer
        self._signatures = signatures

    async def payer(self, intent: Intent) -> str:
        """The address of the wallet that pays, with its checksum."""
        return await self._signer.address(intent.asked.tenant, intent.asked.agent)

    async def sign(self, intent: Intent, authorization: Authorization) -> bytes:
        """The signature (r, s, v) under an authorisation.

        Raises:
            SignerRefused: the payment is not approved, or the authorisation is not its. SignerDown.
        """
        return await self._sign(intent, authorization, cancel=False)

    async def sign_cancellation(self, intent: Intent, authorization: Authorization) -> bytes:
        """The signature that uses the authorisation up without paying.

        Raises:
            SignerRefused, SignerDown: as for the authorisation itself.
        """
        return await self._sign(intent, authorization, cancel=True)

    async def _sign(self, intent: Intent, authorization: Authorization, *, cancel: bool) -> bytes:
        if authorization.nonce != number_of(intent):
            raise SignerRefused(f"the authorisation is not that of payment {intent.id}")
        approval = await approval_of(intent, self._signatures)
        token, until = authorization.token, authorization.valid_before
        return await self._signer.sign_authorization(
            AuthorizeRequest(intent, approval, until, token.name, token.version, cancel)
        )
