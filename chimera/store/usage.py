"""What each mission used: tokens and money, one row per model call."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import reduce
from operator import add
from typing import Any

from chimera.core.contracts import Usage
from chimera.core.money import Money
from chimera.store.postgres import Connection, Pool
from chimera.store.together import Together

FRESH_S = 1.0
"""What other processes used is known after so long; what this one used, at once."""
KEPT = 1_000
"""Missions whose totals are remembered."""
_ADD = """
    INSERT INTO usage (id, mission_id, role, model, tokens_in, tokens_out, cost_units, cost_asset)
    SELECT * FROM unnest(%b::text[]::uuid[], %b::text[]::uuid[], %b::text[], %b::text[], %b::bigint[], %b::bigint[],
        %b::bigint[], %b::text[])
    ON CONFLICT DO NOTHING RETURNING id::text
"""
_TOTAL = """
    SELECT mission_id::text, count(*) AS calls, sum(tokens_in) AS tokens_in, sum(tokens_out) AS tokens_out,
        sum(cost_units) AS units, cost_asset
    FROM usage WHERE mission_id = ANY(%s::uuid[]) GROUP BY mission_id, cost_asset
"""


@dataclass(frozen=True)
class _Call:
    """One model call to count."""

    id: str
    mission_id: str
    role: str
    model: str
    usage: Usage


@dataclass
class _Known:
    """What a mission has used, by asset, as it was read at a time and counted on from there."""

    at: float
    by_asset: dict[str, Usage] = field(default_factory=dict[str, Usage])

    def count(self, usage: Usage) -> None:
        """Count one more."""
        before = self.by_asset.get(usage.cost.asset)
        self.by_asset[usage.cost.asset] = usage if before is None else before + usage


class UsageLog:
    """Reads and writes the table ``usage``: the calls and the questions of one moment share a transaction."""

    def __init__(self, pool: Pool) -> None:
        self._known: dict[str, _Known] = {}
        self._together: Together[Connection, _Call | str, bool | _Known] = Together(
            pool.turns, _write, kept=self._remember
        )

    async def add(self, call_id: str, mission_id: str, role: str, model: str, usage: Usage) -> None:
        """Record one model call; the same ``call_id`` counts once."""
        await self._together.submit(_Call(call_id, mission_id, role, model, usage))

    async def total(self, mission_id: str) -> Usage:
        """What the mission used so far.

        Raises:
            InputError: its calls were paid in different assets, which have no sum.
        """
        known = self._known.get(mission_id)
        if known is None or time.monotonic() - known.at > FRESH_S:
            await self._together.submit(mission_id)
            known = self._known[mission_id]
        parts = list(known.by_asset.values())
        return reduce(add, parts) if parts else Usage()

    async def settled(self) -> None:
        """Return when nothing is being written."""
        await self._together.settled()

    def _remember(self, items: Sequence[_Call | str], answers: Sequence[bool | _Known]) -> None:
        """Count on with what is on disk now."""
        read = {str(item): answer for item, answer in zip(items, answers, strict=True) if isinstance(answer, _Known)}
        for call, new in zip(items, answers, strict=True):
            if isinstance(call, _Call) and new and call.mission_id in self._known and call.mission_id not in read:
                self._known[call.mission_id].count(call.usage)
        for mission_id, known in read.items():
            self._known.pop(mission_id, None)
            self._known[mission_id] = known
        while len(self._known) > max(KEPT, len(read)):
            del self._known[next(iter(self._known))]


async def _write(connection: Connection, items: Sequence[_Call | str]) -> list[bool | _Known]:
    """Whether each call is new, and what each mission that is asked about used, with these calls."""
    calls = [item for item in items if isinstance(item, _Call)]
    at = time.monotonic()
    new = await _add(connection, calls) if calls else set[str]()
    asked = dict.fromkeys(item for item in items if isinstance(item, str))
    totals = await _totals(connection, list(asked)) if asked else {}
    answers: list[bool | _Known] = []
    for item in items:
        if isinstance(item, str):
            answers.append(_Known(at, totals[item]))
        else:
            answers.append(item.id in new)
            new.discard(item.id)  # the same call may be there twice, and counts once
    return answers


async def _add(connection: Connection, calls: Sequence[_Call]) -> set[str]:
    """Insert the calls; the ids of those that were not there."""
    rows = [
        (
            call.id,
            call.mission_id,
            call.role,
            call.model,
            call.usage.tokens_in,
            call.usage.tokens_out,
            call.usage.cost.units,
            call.usage.cost.asset,
        )
        for call in calls
    ]
    columns: list[list[Any]] = [list(column) for column in zip(*rows, strict=True)]
    cursor = await connection.execute(_ADD, columns)
    return {str(row["id"]) for row in await cursor.fetchall()}


async def _totals(connection: Connection, mission_ids: Sequence[str]) -> dict[str, dict[str, Usage]]:
    cursor = await connection.execute(_TOTAL.encode(), (list(mission_ids),))
    found: dict[str, dict[str, Usage]] = {mission_id: {} for mission_id in mission_ids}
    for row in await cursor.fetchall():
        found[row["mission_id"]][row["cost_asset"]] = Usage(
            calls=row["calls"],
            tokens_in=int(row["tokens_in"]),  # a sum of bigints is numeric, so that it cannot overflow
            tokens_out=int(row["tokens_out"]),
            cost=Money(units=int(row["units"]), asset=row["cost_asset"]),
        )
    return found
