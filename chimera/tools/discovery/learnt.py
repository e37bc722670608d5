"""What is known of a server's tools without starting it: what it said when it last ran, here or elsewhere."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from pydantic import ValidationError

from chimera.core.clock import Clock
from chimera.core.ids import digest
from chimera.store.listings import ListingStore
from chimera.tools.capability import Capability
from chimera.tools.discovery.documents import ToolDocument, document_of


class Screener(Protocol):
    """Judges texts that strangers wrote."""

    @property
    def name(self) -> str:
        """What judges: another one judges again."""
        ...

    def suspicious_among(self, texts: Sequence[str]) -> list[bool]:
        """Which of the texts look as if they gave orders instead of information. Slow: it is asked off the loop."""
        ...


@dataclass(frozen=True)
class Said:
    """The tools of one server, and which of them are known by their name alone because of what their texts say."""

    tools: dict[str, Capability] = field(default_factory=dict[str, Capability])
    withheld: frozenset[str] = frozenset()

    def documents(self) -> list[ToolDocument]:
        """What the index reads of them."""
        return [
            ToolDocument(tool.name, tool.server, tool.tool) if tool.name in self.withheld else document_of(tool)
            for tool in self.tools.values()
        ]

    def shown(self, name: str) -> Capability:
        """A tool as it may be described to a model that chooses."""
        tool = self.tools[name]
        return tool.model_copy(update={"description": ""}) if name in self.withheld else tool


class Learnt:
    """Keeps what servers say, and knows it again in the next process."""

    def __init__(self, store: ListingStore, clock: Clock, screener: Screener) -> None:
        self._store = store
        self._clock = clock
        self._screener = screener
        self._digests: dict[str, str] = {}
        self._heard: dict[str, Sequence[Capability]] = {}
        self.servers: dict[str, Said] = {}
        self.version = 0
        """Counts what was news."""

    async def load(self, sources: Mapping[str, str]) -> None:
        """Read what is kept of servers, by name with where they come from. Rows that cannot be read are not known."""
        for row in await self._store.of(list(sources.items())):
            try:
                found = [Capability.model_validate(tool) for tool in row["tools"]]
            except ValidationError:  # of another version of Chimera
                continue
            tools = {tool.name: tool for tool in found}
            self._digests[row["server"]] = row["digest"] if row["screener"] == self._screener.name else ""
            self.servers[row["server"]] = Said(tools, frozenset(row["withheld"]))
            self.version += 1

    async def learn(self, server: str, source: str, tools: Sequence[Capability]) -> bool:
        """Take note of what a server says now; whether that is news. Texts are screened before anything reads them."""
        heard = self._heard.get(server, ())
        if len(heard) == len(tools) and all(one is other for one, other in zip(heard, tools, strict=True)):
            return False
        self._heard[server] = tools
        said = digest(json.dumps([tool.plain() for tool in tools], sort_keys=True))
        if self._digests.get(server) == said:
            return False
        texts = [_text(tool) for tool in tools]
        marks = await asyncio.to_thread(self._screener.suspicious_among, texts)
        withheld = frozenset(tool.name for tool, marked in zip(tools, marks, strict=True) if marked)
        self.servers[server] = Said({tool.name: tool for tool in tools}, withheld)
        self._digests[server] = said
        self.version += 1
        plain = [tool.plain() for tool in tools]
        await self._store.keep(server, source, said, plain, self._screener.name, withheld, self._clock.now())
        return True


def _text(tool: Capability) -> str:
    """All that a server wrote of a tool for somebody to read."""
    document = document_of(tool)
    return f"{tool.tool}\n{tool.description}\n{document.parameters}"
