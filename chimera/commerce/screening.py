"""Screening: rules and lists look at a proposed payment. No model is asked, and no word of its purpose is obeyed.

The purpose is there for people and the record. Rules look at its form alone, so whatever it says changes nothing.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from chimera.commerce.addresses import Lookalikes, checked_address
from chimera.commerce.assets import AssetStore
from chimera.commerce.compliance import Compliance
from chimera.commerce.findings import Finding, strictest
from chimera.commerce.intents import Intent
from chimera.commerce.payees import Payee, Payees, odd_characters
from chimera.commerce.payment_policy import PaymentPolicy
from chimera.core.errors import InputError, ListStale


@dataclass(frozen=True)
class Screened:
    """What screening found. ``payee``: who has the address. ``lists``: which lists it was held against."""

    findings: list[Finding]
    payee: Payee | None
    lists: dict[str, Any]

    @property
    def action(self) -> str:
        """The strictest of what was found."""
        return strictest(self.findings)

    def plain(self) -> dict[str, Any]:
        """The findings as JSON data."""
        return {
            "action": self.action,
            "findings": [one.plain() for one in self.findings],
            "payee": self.payee.plain() if self.payee else None,
            **self.lists,
        }


class Screening:
    """The deterministic look at a payment."""

    def __init__(self, policy: PaymentPolicy, payees: Payees, assets: AssetStore, compliance: Compliance) -> None:
        self._policy = policy
        self._payees = payees
        self._assets = assets
        self._compliance = compliance

    async def screen(self, intent: Intent, now: datetime) -> Screened:
        """Everything that is wrong with a payment, or odd about it."""
        asked = intent.asked
        payee = await self._payees.at(asked.tenant, asked.payee, asked.chain_id)
        near = await self._payees.near(asked.tenant, asked.payee, asked.chain_id) if asked.chain_id else []
        findings = [
            *self._of_the_record(intent),
            *await self._of_the_asset(intent),
            *self._of_the_address(intent, payee, near),
            *self._of_the_lists(intent, now),
            *_of_the_name(payee),
        ]
        return Screened(findings, payee, self._compliance.told())

    def _of_the_record(self, intent: Intent) -> list[Finding]:
        found: list[Finding] = []
        if intent.computed() != intent.digest:
            found.append(Finding("payment.digest", "reject", "the payment is not what its digest says"))
        if intent.asked.policy_version != self._policy.version:
            found.append(Finding("payment.policy", "reject", "it was proposed under another policy than is in force"))
        if not intent.asked.purpose.strip():
            found.append(Finding("payment.purpose", "reject", "nothing says what it is for"))
        return found

    async def _of_the_asset(self, intent: Intent) -> list[Finding]:
        asked, policy = intent.asked, self._policy
        steps = policy.assets.get(asked.asset)
        if steps is None:
            return [Finding("payment.asset", "reject", f"nothing is paid in {asked.asset}")]
        found: list[Finding] = []
        asset, fee = await self._assets.get(asked.asset), await self._assets.get(asked.fee_asset)
        if asked.chain_id != asset.chain_id:
            found.append(Finding("payment.chain", "reject", f"{asset.symbol} is on chain {asset.chain_id}"))
        if asked.fee_cap and fee.chain_id != asset.chain_id:
            found.append(Finding("payment.chain", "reject", "its fees are of another chain"))
        if asked.fee_cap and asked.fee_cap > policy.fee_assets.get(asked.fee_asset, steps.fee_cap):
            found.append(
                Finding("payment.fee", "reject", f"its fee cap {fee.shown(asked.fee_cap)} is above the policy's")
            )
        return found

    def _of_the_address(self, intent: Intent, payee: Payee | None, known: list[Payee]) -> list[Finding]:
        address, found = intent.asked.payee, list[Finding]()
        if intent.asked.chain_id is not None:
            try:
                checked_address(address)
            except InputError as error:
                found.append(Finding("payment.address", "reject", error.message))
            poisoned = Lookalikes(one.address for one in known).of(address)
            if poisoned is not None and payee is None:
                said = f"the address begins and ends like {poisoned}, and is another one"
                found.append(Finding("payment.poisoned", "reject", said))
        if payee is None:
            action = "escalate" if self._policy.unlisted else "reject"
            found.append(Finding("payment.unlisted", action, "nobody is registered with this address"))
        elif payee.address != address:
            found.append(Finding("payment.address", "reject", f"{payee.name} has the address {payee.address}"))
        return found

    def _of_the_lists(self, intent: Intent, now: datetime) -> list[Finding]:
        compliance, found = self._compliance, list[Finding]()
        try:
            if doubt := compliance.trusted(now):
                found.append(Finding("payment.lists", "note", f"{doubt}; production refuses that"))
        except ListStale as error:
            found.append(Finding("payment.lists", "reject", error.message))
        named = compliance.lists.names(intent.asked.payee) if compliance.lists else None
        if named is not None:
            found.append(Finding("payment.listed-address", "reject", f"the address is on the list {named}"))
        return found


def _of_the_name(payee: Payee | None) -> list[Finding]:
    odd = odd_characters(payee.name) if payee else None
    return [Finding("payment.homoglyph", "reject", f"the payee's name has {odd}")] if odd else []
