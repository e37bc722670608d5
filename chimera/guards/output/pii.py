"""Personal data: e-mail addresses, telephone numbers, accounts, cards and identity numbers of people."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Literal, get_args

from stdnum import iban, luhn

from chimera.core.contracts import Threat
from chimera.core.errors import PolicyInvalid
from chimera.guards.output.finding import Context, Finding, Scanner, Spans
from chimera.guards.output.identities import identity_numbers
from chimera.guards.output.phones import phone_numbers
from chimera.guards.output.textguard import TextGuard

Kind = Literal["email", "phone", "iban", "card", "identity"]
Handling = Literal["allow", "mask", "escalate"]
KINDS: tuple[Kind, ...] = get_args(Kind)

_NAMES: Mapping[Kind, str] = {
    "email": "an e-mail address",
    "phone": "a telephone number",
    "iban": "a bank account",
    "card": "a card number",
    "identity": "an identity number",
}
_EMAIL = re.compile(r"(?<![\w.+%-])(?:mailto:)?(\w[\w.+%'-]{0,63}+)@((?:[\w-]{1,63}\.){1,8}([A-Za-z]{2,24}))(?![\w@-])")
_ROLES = frozenset(
    {
        "abuse",
        "admin",
        "billing",
        "careers",
        "community",
        "contact",
        "dev",
        "feedback",
        "git",
        "hello",
        "help",
        "hostmaster",
        "info",
        "jobs",
        "legal",
        "mail",
        "marketing",
        "media",
        "news",
        "newsletter",
        "no-reply",
        "noreply",
        "office",
        "orders",
        "postmaster",
        "press",
        "privacy",
        "sales",
        "security",
        "service",
        "support",
        "team",
        "webmaster",
    }
)
_RESERVED = re.compile(r"(?:^|\.)(?:example(?:\.(?:com|net|org))?|test|invalid|localhost|local)$", re.IGNORECASE)
_FILES = frozenset(
    {
        "avif",
        "css",
        "gif",
        "html",
        "ico",
        "jpeg",
        "jpg",
        "js",
        "json",
        "md",
        "pdf",
        "png",
        "py",
        "svg",
        "toml",
        "ts",
        "txt",
        "webp",
        "xml",
        "yaml",
        "yml",
    }
)
_IBAN = re.compile(r"(?<![A-Za-z0-9])[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?(?![A-Za-z0-9])")
_CARD = re.compile(r"(?<![\w.,/+=-])\d(?:[ -]?\d){12,18}+(?![\w/-]|[.,]\d)")
_ISSUERS = re.compile(
    r"4(?:\d{12}|\d{15}|\d{18})|(?:5[1-5]\d\d|222[1-9]|22[3-9]\d|2[3-6]\d\d|27[01]\d|2720)\d{12}|3[47]\d{13}"
    r"|(?:6011|64[4-9]\d|65\d\d)\d{12}|3(?:0[0-5]|[68]\d)\d{11}|35(?:2[89]|[3-8]\d)\d{12}|62\d{14,17}"
)
_URL = re.compile(r"(?i)(?<![a-z0-9])(?:https?|ftp)://[^\s<>\"']{1,4000}+")
_ODD = re.compile(r"[\W_]+")


class PersonalData(TextGuard):
    """No personal data of people whom the user did not name.

    ``policy`` says for each kind whether it is allowed, masked (the default) or a question to a human. ``regions`` are
    the countries (ISO 3166) whose way of writing telephone numbers counts, and whose identity numbers do; without any,
    telephone numbers need a country code, and the identity numbers of all known countries count.
    """

    rule = "output.pii"

    def __init__(self, policy: Mapping[str, str] | None = None, regions: Sequence[str] = ()) -> None:
        for kind, handling in (policy or {}).items():
            if kind not in KINDS or handling not in get_args(Handling):
                raise PolicyInvalid(f"{self.rule}: {kind} = {handling}; the kinds are {', '.join(KINDS)}")
        self._policy = dict(policy or {})
        self._regions = tuple(regions)

    def scanner(self, context: Context) -> Scanner:
        """The check, which leaves alone what the user wrote."""
        named = named_values(context)
        return lambda text: find_pii(text, named, self._policy, self._regions)


def find_pii(
    text: str,
    named: Callable[[str], bool] = lambda value: False,
    policy: Mapping[str, str] | None = None,
    regions: Sequence[str] = (),
) -> list[Finding]:
    """Every piece of personal data that is not allowed by ``policy`` and that ``named`` does not know."""
    found: list[Finding] = []
    for kind, start, end in _pieces(text, [region.upper() for region in regions]):
        handling = (policy or {}).get(kind, "mask")
        if handling == "allow" or named(text[start:end]):
            continue
        action, threat = ("escalate", Threat.MEDIUM) if handling == "escalate" else ("edit", Threat.LOW)
        found.append(Finding(f"pii.{kind}", _NAMES[kind], start, end, action, threat, f"[{kind} removed]"))
    return found


def named_values(context: Context) -> Callable[[str], bool]:
    """Whether the user wrote a value, perhaps with other spaces and separators."""
    plain = "\n".join(context.named).casefold()
    squeezed = _ODD.sub("", plain)

    def named(value: str) -> bool:
        value = value.casefold().removeprefix("mailto:")
        return value in plain or ("@" not in value and _ODD.sub("", value) in squeezed)

    return named


def _pieces(text: str, regions: Sequence[str]) -> Iterator[tuple[Kind, int, int]]:
    if "@" in text:
        for match in _EMAIL.finditer(text):
            if _is_personal(match[1], match[2], match[3]):
                yield "email", *match.span()
    if sum(char.isdigit() for char in text) < 6:
        return
    addresses = Spans(match.span() for match in _URL.finditer(text))
    for kind, start, end in _numbers(text, regions):
        if not addresses.touch(start, end):
            yield kind, start, end


def _numbers(text: str, regions: Sequence[str]) -> Iterator[tuple[Kind, int, int]]:
    for match in _IBAN.finditer(text):
        if iban.is_valid(match.group()):
            yield "iban", *match.span()
    for match in _CARD.finditer(text):
        digits = match.group().replace(" ", "").replace("-", "")
        if _ISSUERS.fullmatch(digits) and luhn.is_valid(digits):
            yield "card", *match.span()
    for start, end, _ in identity_numbers(text, regions):
        yield "identity", start, end
    for start, end in phone_numbers(text, regions):
        yield "phone", start, end


def _is_personal(local: str, host: str, ending: str) -> bool:
    """Addresses of roles, of documentation, and what only looks like one (``icon@2x.png``) belong to nobody."""
    return local.casefold() not in _ROLES and not _RESERVED.search(host) and ending.casefold() not in _FILES
