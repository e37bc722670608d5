"""The messages of x402, version 2, as the package of that name reads and writes them; imported when used."""

from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import ValidationError

from chimera.core.errors import ExtraMissing, OfferRefused

if TYPE_CHECKING:
    from collections.abc import Callable

    from x402.schemas import PaymentPayload, PaymentRequired, PaymentRequirements, SettleResponse

REQUIRED, SIGNATURE, RESPONSE = "PAYMENT-REQUIRED", "PAYMENT-SIGNATURE", "PAYMENT-RESPONSE"
"""The headers: what is asked for, what was signed, and what came of it."""
VERSION = 2
EXACT = "exact"
MOST_HEADER_CHARS = 16_384
Message = TypeVar("Message")


def read_required(header: str) -> "PaymentRequired":
    """What a seller asks for.

    Raises:
        OfferRefused: it cannot be read, or is of another version.
    """
    utils, schemas = _library()
    return _read(header, utils.decode_payment_required_header, schemas.PaymentRequired, "what the seller asks for")


def read_payload(header: str) -> "PaymentPayload":
    """What a buyer signed.

    Raises:
        OfferRefused: it cannot be read, or is of another version.
    """
    utils, schemas = _library()
    return _read(header, utils.decode_payment_signature_header, schemas.PaymentPayload, "the payment")


def read_settled(header: str) -> "SettleResponse":
    """What a seller says that became of a payment. It is his word: the chain knows.

    Raises:
        OfferRefused: it cannot be read.
    """
    utils, schemas = _library()
    return _read(header, utils.decode_payment_response_header, schemas.SettleResponse, "the seller's receipt")


def write_required(asked: "PaymentRequired") -> str:
    """The header that asks for a payment."""
    return str(_library()[0].encode_payment_required_header(asked))


def write_payload(payload: "PaymentPayload") -> str:
    """The header that pays."""
    return str(_library()[0].encode_payment_signature_header(payload))


def write_settled(settled: "SettleResponse") -> str:
    """The header that says what became of a payment."""
    return str(_library()[0].encode_payment_response_header(settled))


def payload_of(requirements: dict[str, Any], signed: dict[str, Any]) -> "PaymentPayload":
    """What was signed, for what was asked."""
    schemas = _library()[1]
    accepted = schemas.PaymentRequirements.model_validate(requirements)
    return schemas.PaymentPayload(x402_version=VERSION, payload=signed, accepted=accepted)


def requirements_of(plain: dict[str, Any]) -> "PaymentRequirements":
    """What is asked for, from plain data."""
    return _library()[1].PaymentRequirements.model_validate(plain)


def required_of(requirements: "PaymentRequirements", url: str, description: str, error: str) -> "PaymentRequired":
    """The whole message of a seller who takes one kind of payment."""
    schemas = _library()[1]
    resource = schemas.ResourceInfo(url=url, description=description)
    return schemas.PaymentRequired(x402_version=VERSION, error=error, resource=resource, accepts=[requirements])


def settled_of(transaction: str, network: str, payer: str) -> "SettleResponse":
    """The receipt of a payment that was made."""
    return _library()[1].SettleResponse(success=True, transaction=transaction, network=network, payer=payer)


def _read(header: str, decode: "Callable[[str], Any]", kind: type[Message], what: str) -> Message:
    if len(header) > MOST_HEADER_CHARS:
        raise OfferRefused(f"{what} is longer than {MOST_HEADER_CHARS:,} characters")
    try:
        found = decode(header)
    except (ValueError, ValidationError, RecursionError, AttributeError, TypeError):
        raise OfferRefused(f"{what} cannot be read") from None
    if not isinstance(found, kind) or getattr(found, "x402_version", VERSION) != VERSION:
        raise OfferRefused(f"{what} is not of version {VERSION} of x402")
    return found


def _library() -> tuple[Any, Any]:
    try:
        import x402.http.utils
        import x402.schemas
    except ImportError:
        raise ExtraMissing(
            "payments over HTTP 402 need the extra `commerce`", remedy="pip install 'chimera-swarm[commerce]'"
        ) from None
    return x402.http.utils, x402.schemas
