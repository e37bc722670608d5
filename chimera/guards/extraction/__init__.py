"""Quarantined extraction: a model without tools reads what nobody trusts, and only values of closed types come out.

The pattern of two models (Willison 2023; CaMeL, arXiv 2503.18813): the one that acts never reads the text, the one that
reads it cannot act, and between them pass no sentences. From Python::

    from chimera.guards.extraction import Amount, Date, Extractor

    found = await Extractor().extract(text, {"due": Date(), "total": Amount()})
    found.one("total")  # "120.50 EUR", or None

Without a chat model it is rules that read, and ``found.by`` says so.
"""

from chimera.guards.extraction.extracted import Extracted, Typed
from chimera.guards.extraction.extractor import Asked, Extractor
from chimera.guards.extraction.forms import (
    Account,
    Address,
    Amount,
    Choice,
    Count,
    Date,
    Form,
    Identifier,
    Link,
    Moment,
    Number,
    YesNo,
)
from chimera.guards.extraction.schema import OF_TEXT, Schema, Several

__all__ = [
    "OF_TEXT",
    "Account",
    "Address",
    "Amount",
    "Asked",
    "Choice",
    "Count",
    "Date",
    "Extracted",
    "Extractor",
    "Form",
    "Identifier",
    "Link",
    "Moment",
    "Number",
    "Schema",
    "Several",
    "Typed",
    "YesNo",
]
