"""The reviewed file of key formats, and examples of what it finds."""

import random
import re
import string
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from chimera.core.errors import PolicyInvalid
from chimera.guards.output.randomness import base58check, is_base58check, is_placeholder, is_random

_CHECKS: dict[str, Callable[[str], bool]] = {
    "none": lambda value: True,
    "no-placeholder": lambda value: not is_placeholder(value),
    "random": is_random,
    "base58check": is_base58check,
}
_PIECE = re.compile(r"\{(\w+):(\d+)\}")
_CLASSES = {
    "alnum": string.ascii_letters + string.digits,
    "base32": string.ascii_uppercase + "234567",
    "base64": string.ascii_letters + string.digits + "+/",
    "digit": string.digits,
    "hex": string.hexdigits[:16],
    "name": string.ascii_lowercase,
    "upper": string.ascii_uppercase + string.digits,
}


@dataclass(frozen=True)
class SecretRule:
    """One format. ``fold``: the pattern looks at the text in lower case. ``holds``: what else is true of a value."""

    id: str
    reason: str
    hints: tuple[str, ...]
    pattern: re.Pattern[str]
    fold: bool
    holds: Callable[[str], bool]
    sample: str
    near: str


@cache
def secret_rules() -> tuple[SecretRule, ...]:
    """The rules of ``secrets.toml``, in order.

    Raises:
        PolicyInvalid: the file cannot be used.
    """
    text = (resources.files(__package__ or "") / "secrets.toml").read_text("utf-8")
    try:
        return tuple(_rule(part) for part in tomllib.loads(text)["rule"])
    except (KeyError, TypeError, re.error, tomllib.TOMLDecodeError) as error:
        raise PolicyInvalid(f"secrets.toml: {error}") from error


def example(rule: SecretRule, seed: int = 0) -> str:
    """A text that holds a made-up secret of this format; another one for each seed."""
    dice = random.Random(f"{rule.id} {seed}")  # noqa: S311 - a made-up example protects nothing

    def made(piece: re.Match[str]) -> str:
        kind, number = piece[1], int(piece[2])
        if kind == "wif":
            return base58check(b"\x80" + dice.randbytes(32))
        if kind == "words":
            return " ".join("".join(dice.choices(_CLASSES["name"], k=5)) for _ in range(number))
        return "".join(dice.choices(_CLASSES[kind], k=number))

    return _PIECE.sub(made, rule.sample)


def _rule(part: dict[str, Any]) -> SecretRule:
    return SecretRule(
        id=part["id"],
        reason=part["reason"],
        hints=tuple(part["hint"]),
        pattern=re.compile(part["pattern"]),
        fold=part.get("fold", False),
        holds=_CHECKS[part.get("check", "none")],
        sample=part["sample"],
        near=part["near"],
    )
