"""Which typed values are wanted of a text: fields by name, each with its form."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from chimera.core.errors import InputError
from chimera.guards.extraction.forms import (
    OPTION_MAX,
    OPTIONS_MAX,
    Account,
    Address,
    Amount,
    Choice,
    Date,
    Form,
    Identifier,
    Link,
)
from chimera.guards.provenance.manifest import Kind

FIELDS_MAX = 32
SEVERAL_MAX = 100
_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")


@dataclass(frozen=True)
class Several:
    """Up to ``most`` different values of one form."""

    form: Form
    most: int = 20


Schema = Mapping[str, Form | Several]
"""What is wanted, by the name of the field."""

OF_TEXT: Schema = MappingProxyType(
    {
        "dates": Several(Date()),
        "amounts": Several(Amount()),
        "accounts": Several(Account()),
        "addresses": Several(Address()),
        "links": Several(Link()),
    }
)
"""What is taken out of a text of which nothing is known."""

OF_KIND: Mapping[Kind, Form] = MappingProxyType(
    {
        Kind.PAYEE: Account(),
        Kind.ADDRESS: Address(),
        Kind.URL_READ: Link(),
        Kind.URL_WRITE: Link(),
        Kind.OBJECT: Identifier(),
        Kind.DATE: Date(),
        Kind.AMOUNT: Amount(),
    }
)
"""The form of a field whose kind the operator declared; the texts of other kinds are free."""


def checked(schema: Schema) -> dict[str, Several]:
    """The schema with every field as one of several values; one value is the first of at most one.

    Raises:
        InputError: a name, an option or a number of values is not allowed.
    """
    if not 0 < len(schema) <= FIELDS_MAX:
        raise InputError(f"an extraction takes 1 to {FIELDS_MAX} fields")
    found: dict[str, Several] = {}
    for name, wanted in schema.items():
        several = wanted if isinstance(wanted, Several) else Several(wanted, 1)
        if not _NAME.fullmatch(name):
            raise InputError(f"the name of a field is a to z, 0 to 9 and _, up to 40 of them: {name[:40]!r}")
        if not 0 < several.most <= SEVERAL_MAX:
            raise InputError(f"{name}: an extraction takes 1 to {SEVERAL_MAX} values of a field")
        if isinstance(several.form, Choice):
            _check_options(name, several.form)
        found[name] = several
    return found


def _check_options(name: str, choice: Choice) -> None:
    fits = all(0 < len(option) <= OPTION_MAX for option in choice.options)
    if not fits or not 0 < len(choice.options) <= OPTIONS_MAX:
        raise InputError(f"{name}: a choice has 1 to {OPTIONS_MAX} options of 1 to {OPTION_MAX} characters")
