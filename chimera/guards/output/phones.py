"""Telephone numbers by region, as libphonenumber knows them."""

import re
from collections.abc import Collection, Iterator

_NUMBER = re.compile(r"(?<![\w.,/+:#=-])(?:\+ ?)?\(?\d(?:[ ().\-/]{0,2}\d){6,14}+(?![\w/:%€$£]|[.,]\d)")
_DATE = re.compile(r"\(?\d{4}[-/.]\d{1,2}[-/.]\d{1,2}|\d{1,2}[-/.]\d{1,2}[-/.]\d{4}|\d{4}[-–/]\d{4}$")
_DOMESTIC = re.compile(r"\(?0\d|\(\d{2,5}\)|\d{3}[-. ]\d{3}[-. ]\d{4}$")
_TOLD = re.compile(
    r"(?:tel|phone|call|fax|mobile|mobil|cell|whatsapp|signal|sms|ring|telefon|telefono|teléfono|téléphone|handy|móvil|"
    r"portable|nummer|contact)\w{0,8}\W{0,12}(?:\w{1,6}\W{1,3}){0,2}$",
    re.IGNORECASE,
)
_BEFORE = 40


def phone_numbers(text: str, regions: Collection[str]) -> Iterator[tuple[int, int]]:
    """Start and end of each telephone number.

    With a country code everywhere; without one only as it is written in one of ``regions`` (ISO 3166), and where the
    way it is written or a word before it says that it is one.
    """
    for match in _NUMBER.finditer(text):
        value = match.group()
        if value.startswith("+"):
            if _is_valid(value, None):
                yield match.span()
        elif regions and not _DATE.match(value) and _looks_domestic(text, match) and _is_in(value, regions):
            yield match.span()


def _looks_domestic(text: str, match: re.Match[str]) -> bool:
    value = match.group()
    spaced = not value.isdigit()
    told = _TOLD.search(text[max(0, match.start() - _BEFORE) : match.start()])
    return bool(told) or (spaced and bool(_DOMESTIC.match(value)))


def _is_in(value: str, regions: Collection[str]) -> bool:
    return any(_is_valid(value, region) for region in regions)


def _is_valid(value: str, region: str | None) -> bool:
    import phonenumbers  # its tables take 0.2 s to load, and most texts hold nothing that looks like a number

    try:
        return phonenumbers.is_valid_number(phonenumbers.parse(value, region))
    except phonenumbers.NumberParseException:
        return False
