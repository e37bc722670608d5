"""A transaction as an agent writes it, read strictly: what is missing or could mean two things is refused."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from chimera.commerce.addresses import checked_address
from chimera.commerce.assets import Asset, AssetStore
from chimera.commerce.intents import Proposal
from chimera.commerce.payees import Payees
from chimera.commerce.payment_policy import PaymentPolicy
from chimera.core.errors import InputError

_NEEDED = ("amount", "asset", "recipient", "purpose")
_MAY_HAVE = ("category", "chain", "fee_cap", "fee_asset", "key", "expected_value", "within_s", "ttl_s")
CATEGORY = "general"
_EXAMPLE = '{"amount": "0.25", "asset": "USDC", "recipient": "weather data", "purpose": "data for the briefing"}'


@dataclass(frozen=True)
class Requester:
    """On whose behalf a transaction is proposed, as the server knows it and never as the transaction says."""

    tenant: str
    agent: str
    mission: str
    pool: str = ""
    team: str = ""


@dataclass(frozen=True)
class Asked:
    """A transaction that was understood. ``value``: what it is claimed to bring, in units of its asset."""

    proposal: Proposal
    asset: Asset
    value: int | None
    within_s: int | None


async def read_transaction(
    given: Mapping[str, Any], by: Requester, key: str, policy: PaymentPolicy, assets: AssetStore, payees: Payees
) -> Asked:
    """The proposal that a transaction means. ``key``: the payment's, unless the transaction has one.

    Raises:
        InputError: a field is missing, unknown, or can be read in no way or in two. PayeeUnknown: nobody is meant by
        the
            name.
    """
    _check_fields(given)
    chain = _whole(given, "chain", most=2**63 - 1)
    asset = await assets.named(_text(given, "asset"), chain)
    fee_asset = await assets.named(_text(given, "fee_asset"), asset.chain_id) if "fee_asset" in given else asset
    fee_cap = fee_asset.units(given["fee_cap"], positive=False) if "fee_cap" in given else 0
    recipient = _text(given, "recipient")
    if asset.chain_id is not None and recipient[:2] in ("0x", "0X"):
        address = checked_address(recipient)
    else:
        address = (await payees.named(by.tenant, recipient, asset.chain_id)).address
    proposal = Proposal(
        tenant=by.tenant,
        key=_text(given, "key") if "key" in given else key,
        payee=address,
        asset=asset.id,
        chain_id=asset.chain_id,
        amount=asset.units(given["amount"]),
        fee_asset=fee_asset.id,
        fee_cap=fee_cap,
        purpose=_text(given, "purpose"),
        category=_text(given, "category") if "category" in given else CATEGORY,
        agent=by.agent,
        policy_version=policy.version,
        ttl_s=_whole(given, "ttl_s", most=30 * 86_400) or policy.ttl_s,
        pool=by.pool,
        team=by.team,
        mission=by.mission,
    )
    value = asset.units(given["expected_value"], positive=False) if "expected_value" in given else None
    return Asked(proposal, asset, value, _whole(given, "within_s", most=10 * 366 * 86_400))


def _check_fields(given: Mapping[str, Any]) -> None:
    missing = [name for name in _NEEDED if name not in given]
    if missing:
        why = " (100 of what?)" if missing == ["asset"] else ""
        raise InputError(f"the transaction does not say its {', '.join(missing)}{why}", remedy=f"Such as {_EXAMPLE}.")
    unknown = sorted(str(name)[:40] for name in given if name not in (*_NEEDED, *_MAY_HAVE))
    if unknown:
        known = ", ".join((*_NEEDED, *_MAY_HAVE))
        raise InputError(f"a transaction has no {', '.join(unknown)}", remedy=f"It has {known}.")


def _text(given: Mapping[str, Any], name: str) -> str:
    found = given[name]
    if not isinstance(found, str) or not found.strip():
        raise InputError(f"the {name} of a transaction is a text that says something", remedy=f"Such as {_EXAMPLE}.")
    return found.strip()


def _whole(given: Mapping[str, Any], name: str, *, most: int) -> int | None:
    found = given.get(name)
    if found is None:
        return None
    if not isinstance(found, int) or isinstance(found, bool) or not 1 <= found <= most:
        raise InputError(f"the {name} of a transaction is a whole number from 1, not {str(found)[:40]!r}")
    return found
