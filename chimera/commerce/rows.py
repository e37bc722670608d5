"""Rows of the tables as what they mean."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from chimera.commerce.intents import Intent, IntentState, Proposal

_ASKED = tuple(each.name for each in fields(Proposal))


def intent_of(row: Mapping[str, Any]) -> Intent:
    """A row of ``intents``."""
    asked: dict[str, Any] = {name: row[name] for name in _ASKED}
    asked |= {"amount": int(row["amount"]), "fee_cap": int(row["fee_cap"])}
    return Intent(
        id=str(row["id"]),
        asked=Proposal(**asked),
        expires_at=row["expires_at"],
        digest=bytes(row["digest"]),
        state=IntentState(row["state"]),
        moved_by=row["moved_by"],
        why=row["why"],
        created_at=row["created_at"],
        moved_at=row["moved_at"],
    )
