"""What may be paid, and who has to agree: the operator's rules about payments, fixed for as long as a process runs.

The version is a digest of all of it. It is part of every intent, so that a payment is judged, approved and signed by
one and the same policy: where another one holds by then, it is refused.
"""

import json
import tomllib
from enum import IntEnum
from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationError, model_validator

from chimera.core.contracts import Contract
from chimera.core.errors import ConfigError
from chimera.core.ids import digest
from chimera.core.invalid import first_problem

Units = Annotated[int, Field(ge=0, lt=10**30, strict=True)]


class Level(IntEnum):
    """How many people have to agree; a higher one is never made lower by anything."""

    AUTO = 0
    ONE = 1
    TWO = 2
    NEVER = 3


class Steps(Contract):
    """Of one asset, up to which sum in the window which level does; above ``two`` nothing is paid. Atomic units."""

    auto: Units
    one: Units
    two: Units
    fee_cap: Units = 0

    @model_validator(mode="after")
    def _rises(self) -> "Steps":
        if not self.auto <= self.one <= self.two:
            raise ValueError("auto, one and two rise")
        return self

    def level(self, units: int) -> Level:
        """The level for a sum."""
        return next(
            (level for level, most in zip(Level, (self.auto, self.one, self.two), strict=False) if units <= most),
            Level.NEVER,
        )


class PaymentPolicy(Contract):
    """The rules. ``assets``: those that may be paid with, by id; ``fee_assets``: those that fees may be in.

    ``categories``: the least level of each; one that is not there is paid never, unless there are none at all.
    ``new_payee``: the least level of a first payment. ``window_s``: over how long sums count. ``most_payments``: of an
    agent within it before a human looks. ``list_days``: how old a list of sanctions may be; with ``production`` an
    older one refuses everything. ``price_factor``: how many times the usual price of a payee makes a human look.
    """

    assets: dict[str, Steps] = Field(default_factory=dict[str, Steps])
    fee_assets: dict[str, Units] = Field(default_factory=dict[str, Units], description="the most for one payment")
    categories: dict[str, Level] = Field(default_factory=dict[str, Level])
    new_payee: Level = Level.ONE
    unlisted: bool = Field(default=False, description="whether an address may be paid, after a human, that has no name")
    window_s: int = Field(default=86_400, ge=60, le=31_622_400)
    most_payments: int = Field(default=100, ge=1)
    price_factor: int = Field(default=3, ge=1)
    list_days: int = Field(default=7, ge=1)
    production: bool = True
    approval_s: int = Field(default=3_600, ge=1, le=30 * 86_400, description="how long a human's agreement counts")
    model_s: float = Field(default=60.0, gt=0, description="how long the CFO's model may take")
    ttl_s: int = Field(default=3_600, ge=1, le=30 * 86_400)
    scripted: bool = Field(default=False, description="whether a script may agree: only to money without worth")

    @model_validator(mode="after")
    def _no_script_in_production(self) -> "PaymentPolicy":
        if self.scripted and self.production:
            raise ValueError("in production no script agrees to payments")
        return self

    @property
    def version(self) -> str:
        """The digest of all rules, as intents carry it."""
        return digest(json.dumps(self.plain(), sort_keys=True))


def read_policy(path: Path) -> PaymentPolicy:
    """The policy in a TOML file.

    Raises:
        ConfigError: it cannot be read, or is no policy.
    """
    try:
        return PaymentPolicy.model_validate(tomllib.loads(path.read_text("utf-8")))
    except ValidationError as error:
        raise ConfigError(f"{path.name}: {first_problem(error, 'policy')}") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path.name} is no policy of payments: {type(error).__name__}") from None
