"""The journal of effects: written before the network is touched, so that a step that runs again does not act again."""

from typing import Any

from chimera.core.errors import ConflictError
from chimera.store.postgres import Pool, fetch, fetch_one
from chimera.store.values import as_json


class EffectJournal:
    """Reads and writes the table ``effects``."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def begin(self, key: str, mission_id: str, capability: str, arguments: str) -> dict[str, Any] | None:
        """Announce an effect. Returns None when it is to be made, else what is known of it: ``state`` and ``result``.

        An effect that certainly did not happen (``failed``) is to be made. ``arguments`` is their digest.

        Raises:
            ConflictError: the key stands for another effect.
        """
        new = await fetch_one(
            self._pool,
            "INSERT INTO effects (key, mission_id, capability, arguments, state) VALUES (%s, %s, %s, %s, 'begun') "
            "ON CONFLICT (key) DO UPDATE SET state = 'begun', at = now() "
            "WHERE effects.state = 'failed' AND (effects.capability, effects.arguments) = "
            "(excluded.capability, excluded.arguments) RETURNING key",
            (key, mission_id, capability, arguments),
        )
        if new is not None:
            return None
        known = await fetch_one(
            self._pool, "SELECT capability, arguments, state, result FROM effects WHERE key = %s", (key,)
        )
        if known is None or (known["capability"], known["arguments"]) != (capability, arguments):
            raise ConflictError(f"the idempotency key of {capability} stands for another effect")
        return known

    async def of_tool(self, mission_id: str, capability: str) -> dict[str, str]:
        """A mission's effects with one tool, but for those that did not happen: the digest of each call by its key."""
        rows = await fetch(
            self._pool,
            "SELECT key, arguments FROM effects WHERE mission_id = %s AND capability = %s AND state <> 'failed'",
            (mission_id, capability),
        )
        return {str(row["key"]): str(row["arguments"]) for row in rows}

    async def end(self, key: str, state: str, result: dict[str, Any]) -> None:
        """Record how an effect ended: ``done`` with its result, or ``failed``, with the error, if it did not happen."""
        await fetch(
            self._pool,
            "UPDATE effects SET state = %s, result = %s WHERE key = %s AND state = 'begun'",
            (state, as_json(result), key),
        )
