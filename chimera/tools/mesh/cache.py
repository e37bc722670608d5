"""Results of tools that only read, kept for a while, so that a thousand agents ask a service once."""

import json
from collections.abc import Mapping
from typing import Any, Protocol

from pydantic import ValidationError

from chimera.core.ids import digest
from chimera.tools.capability import Capability, Requester, ToolResult

RESULT_MAX_BYTES = 65_536


class Cache(Protocol):
    """Where texts are kept for a while, for all processes; it may forget them at any time."""

    async def get(self, key: str) -> str | None:
        """What is kept under a key."""
        ...

    async def put(self, key: str, text: str, seconds: float) -> None:
        """Keep a text for so long."""
        ...


class KeptResults:
    """The results of one mesh's calls. A tenant never sees what was kept for another."""

    def __init__(self, cache: Cache) -> None:
        self._cache = cache

    async def get(self, key: str) -> ToolResult | None:
        """The result that is kept under a key."""
        text = await self._cache.get(key)
        try:
            return None if text is None else ToolResult.model_validate_json(text)
        except ValidationError:
            return None  # another version of Chimera kept it

    async def put(self, key: str, result: ToolResult, seconds: float) -> None:
        """Keep a result, unless it is large."""
        text = result.model_dump_json()
        if len(text) <= RESULT_MAX_BYTES:
            await self._cache.put(key, text, seconds)


def key_of(tool: Capability, arguments: Mapping[str, Any], requester: Requester) -> str:
    """The name of a result: the same call of the same tool, as it is defined now, for the same tenant."""
    defined = [tool.name, tool.description, tool.input_schema, tool.output_schema]
    return digest(json.dumps([requester.tenant, defined, arguments], sort_keys=True, ensure_ascii=False))
