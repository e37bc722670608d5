"""How questions are worked: how long they may wait, who is asked next, how many have to agree, what may be undone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from chimera.core.contracts import ReviewItem
from chimera.core.settings import Settings
from chimera.review.answers import kind_of
from chimera.review.priority import amount_of

ACT_AT_ONCE = frozenset({"policy", "incident", "changed_tools", "payment"})
"""Kinds of questions whose answers change something in their own transaction: they cannot be taken back, and each has
its own rule of who has to agree."""
EVERY = ""
_CHAINS = {
    EVERY: ("reviewer", "operator"),
    "security": ("security-officer", "operator"),
    "policy": ("security-officer", "operator"),
}


@dataclass(frozen=True)
class WorkRules:
    """The settings of the review queue.

    ``due_s``: seconds that each step of the chain has. ``chains``: by point, the roles that are asked in turn.
    ``quorum``: by point, how many people have to agree; ``quorum_above``: by point, units of money above which two have
    to. ``claim_s``: how long a claim lasts. ``grace_s``: how long a decision can be taken back, where it is not said.
    ``bulk_units``: the most money that a bulk decision is about, for each item.
    """

    due_s: float = 14_400.0
    chains: Mapping[str, Sequence[str]] = field(default_factory=lambda: MappingProxyType(_CHAINS))
    quorum: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    quorum_above: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    claim_s: float = 300.0
    grace_s: float = 8.0
    bulk_units: int = 10_000_000

    @classmethod
    def of(cls, settings: Settings) -> "WorkRules":
        """The rules that the settings say."""
        return cls(
            due_s=settings.review_due_s,
            chains={**_CHAINS, **settings.review_chains},
            quorum=settings.review_quorum,
            quorum_above=settings.review_quorum_above,
            claim_s=settings.review_claim_s,
            grace_s=settings.review_grace_s,
            bulk_units=settings.review_bulk_units,
        )

    def chain(self, point: str) -> Sequence[str]:
        """The roles that are asked about a point, in order."""
        return self.chains.get(point) or self.chains.get(EVERY) or ()

    def first(self, item: ReviewItem) -> str | None:
        """Who is asked first."""
        chain = self.chain(str(item.point))
        return f"role:{chain[0]}" if chain else None

    def needs(self, item: ReviewItem) -> int:
        """How many people have to agree to a question. Payments, policies and incidents have a rule of their own."""
        if kind_of(item) in ACT_AT_ONCE:
            return 1
        point = str(item.point)
        above = self.quorum_above.get(point)
        least = 2 if above is not None and amount_of(item) > above else 1
        return max(least, self.quorum.get(point, 1))

    def grace(self, item: ReviewItem, asked_s: float) -> float:
        """How long a decision about a question can be taken back, if it was to be ``asked_s``."""
        return 0.0 if kind_of(item) in ACT_AT_ONCE or item.mission_id is None else max(0.0, asked_s)


DEFAULT = WorkRules()
"""The rules of an installation whose settings say nothing."""
