"""The door to all tools: what there is, what fits a need, and calls. Behind it are the mesh and the search.

A few servers are simply started and looked at. Of many, those are started whose tools are to be called; the others are
known by what they said when they last ran, or by what the registry says of them.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from chimera.core.contracts import FIND_TOOLS, SPENDING
from chimera.core.errors import ToolTimeout
from chimera.core.money import Money
from chimera.tools.capability import NOBODY, Capability, Requester, ToolResult
from chimera.tools.discovery.asking import FINDER, FOUND_MOST, QUERY_MAX, TEXT_MAX, answer
from chimera.tools.discovery.documents import ToolDocument
from chimera.tools.discovery.learnt import Learnt, Said
from chimera.tools.mesh.mesh import ToolMesh
from chimera.tools.mesh.servers import FIRST_PARTY, OURSELVES
from chimera.tools.spending import Purse, spending_tools, what_came

if TYPE_CHECKING:
    from chimera.tools.discovery.finder import Finder

STARTED_MOST = 16
"""Servers that are all started to be looked at; of more, only what is needed."""
SHOWN_MOST = 24
"""Tools that are all shown to whoever plans; of more, the best matches."""
SUGGESTED = 16
"""Best matches that are shown to whoever plans, where there are more than can be shown."""
LEARNT_MOST = 3
"""Servers that one search starts because nothing is known yet of tools that seem to fit."""
RISKS = ("low", "medium", "high")


@dataclass(frozen=True)
class Source:
    """A server as the registry or the settings know it: where it comes from, and what is said of it beforehand.

    ``risks`` and ``costs`` are by the server's own names of tools; ``risk`` is that of tools that are not among them.
    """

    name: str
    source: str
    description: str = ""
    offers: tuple[Capability, ...] = ()
    risk: str = "medium"
    risks: Mapping[str, str] = field(default_factory=dict[str, str])
    costs: Mapping[str, Money] = field(default_factory=dict[str, Money])
    registered: bool = False


@dataclass(frozen=True)
class Wanted:
    """What a search is to find: how many, for whom, and within which bounds."""

    most: int
    requester: Requester = NOBODY
    scope: str = ""
    without: Collection[str] = ()
    max_risk: str = "high"
    max_cost: Money | None = None
    start: int = LEARNT_MOST
    """Servers that may be started to learn what they offer."""
    known_only: bool = False
    """Only tools whose arguments are known."""


@dataclass(frozen=True)
class Match:
    """A tool that was found. ``is_known``: its server itself said what it takes; else its first call shows it."""

    tool: Capability
    score: float
    why: str
    risk: str
    cost: Money | None
    is_known: bool


Sources = Callable[[], Awaitable[Mapping[str, Source]]]
May = Callable[[Capability, Requester, str], Awaitable[bool]]
"""Whether somebody may call a tool: the permissions say so. Takes the tool, who asks, and the mission."""


class Toolbox:
    """Lists, finds and calls tools. ``Effects`` alone is given its ``call``."""

    def __init__(
        self,
        mesh: ToolMesh,
        sources: Sources,
        learnt: Learnt,
        make_finder: "Callable[[], Finder]",
        may: May,
        timeout_s: float = 60.0,
        purse: Callable[[], Purse | None] = lambda: None,
    ) -> None:
        """``purse``: gives what knows of agents' payments, by the time that somebody asks; None: nothing is paid."""
        self._mesh = mesh
        self._purse = purse
        self._ask_sources = sources
        self._learnt = learnt
        self._make_finder = make_finder
        self._may = may
        self._timeout_s = timeout_s
        self._finder: Finder | None = None
        self._sources: Mapping[str, Source] | None = None
        self._indexed: dict[str, Said | None] = {}
        self._tried: set[str] = set()
        self._known: tuple[int, list[Capability]] = (-1, [])
        self._alone = asyncio.Lock()

    # --- what there is ---------------------------------------------------------------------------------------------

    async def capabilities(self) -> list[Capability]:
        """Every tool that is known with its arguments, by name."""
        own = spending_tools(self._purse())
        if self._is_small:
            return [*own, *await self._mesh.capabilities()]
        await self._look()
        if self._known[0] != self._learnt.version:
            tools = (tool for said in self._learnt.servers.values() for tool in said.tools.values())
            self._known = self._learnt.version, sorted(tools, key=lambda tool: tool.name)
        return [*own, *self._known[1]]

    async def named(self, names: Collection[str]) -> list[Capability]:
        """Those of the tools that can be called now, by name; their servers are started, and no others."""
        wanted = set(names)
        servers = {name.partition("__")[0] for name in wanted}
        if absent := servers - self._mesh.offered().keys():
            await self._mesh.start(absent)
        offered = self._mesh.offered()
        found = [tool for server in servers for tool in offered.get(server, ()) if tool.name in wanted]
        if FIND_TOOLS in wanted:
            found.append(FINDER)
        found += [tool for tool in spending_tools(self._purse()) if tool.name in wanted]
        return sorted(found, key=lambda tool: tool.name)

    async def finder(self) -> Capability | None:
        """The tool with which an agent finds others, where there are more than its planner was shown."""
        return FINDER if await self._is_large() else None

    async def call(
        self,
        name: str,
        arguments: dict[str, Any],
        *,
        scope: str,
        idempotency_key: str,
        deadline_s: float | None = None,
        requester: Requester = NOBODY,
    ) -> ToolResult:
        """Call a tool. Raises what ``ToolMesh.call`` says."""
        if name == FIND_TOOLS:
            return await self._found(str(arguments["query"]), requester, scope, deadline_s or self._timeout_s)
        if name in SPENDING:
            return await what_came(self._purse(), requester.tenant, idempotency_key)
        return await self._mesh.call(
            name, arguments, scope=scope, idempotency_key=idempotency_key, deadline_s=deadline_s, requester=requester
        )

    async def _found(self, query: str, requester: Requester, scope: str, seconds: float) -> ToolResult:
        wanted = Wanted(FOUND_MOST, requester, scope, max_risk="medium", known_only=True)
        try:
            async with asyncio.timeout(seconds):
                return answer([match.tool for match in await self.search(query, wanted)])
        except TimeoutError:
            late = f"the search for tools took more than {seconds:g} s"
            raise ToolTimeout(late, tool=FIND_TOOLS, outcome="not done") from None

    # --- what fits -------------------------------------------------------------------------------------------------

    async def suggested(
        self, goal: str, requester: Requester, scope: str, without: Collection[str] = ()
    ) -> list[Capability]:
        """The tools to plan with: all of a few; of many our own and those that fit the goal, each in a few words."""
        if not await self._is_large():
            return await self.capabilities()
        found = await self.search(goal, Wanted(SUGGESTED, requester, scope, without, known_only=True))
        fits = {match.tool.name: match.tool for match in found}
        own = {
            tool.name: tool
            for tool in await self.capabilities()
            if tool.server in (*FIRST_PARTY, OURSELVES) and tool.name not in without
        }
        return [_short(tool) for tool in (own | fits).values()]

    async def search(self, query: str, wanted: Wanted) -> list[Match]:
        """The tools that answer a need best, best first, among those that may be called and whose servers are well."""
        finder = await self._synced()
        query = query[: 4 * QUERY_MAX]
        left = wanted.start
        while True:
            unwell, without = self._mesh.unwell(), set(wanted.without)
            hits = await finder.search(
                query,
                lambda name: name not in without and name.partition("__")[0] not in unwell,  # noqa: B023 - used at once
                wanted.requester.tenant,
            )
            matches: list[Match] = []
            unknown: list[str] = []
            for place, hit in enumerate(hits):
                match = self._match(hit.name, hit.score, hit.why, wanted)
                if (match is None or not match.is_known) and place < FOUND_MOST:
                    unknown.append(hit.name.partition("__")[0])
                if match is None or (wanted.known_only and not match.is_known) or not self._is_within(match, wanted):
                    continue
                if await self._may(match.tool, wanted.requester, wanted.scope):
                    matches.append(match)
                if len(matches) >= wanted.most:
                    break
            fresh = [name for name in dict.fromkeys(unknown) if name not in self._tried][: min(left, LEARNT_MOST)]
            if not fresh:
                return matches
            left -= len(fresh)
            self._tried.update(fresh)
            await self._mesh.start(fresh)
            await self._take_up(finder)

    def _match(self, name: str, score: float, why: str, wanted: Wanted) -> Match | None:
        """The tool of a hit; None for a server of which nothing is known but what it is for."""
        server, _, short = name.partition("__")
        source, said = self._source(server), self._learnt.servers.get(server)
        if said is not None and name in said.tools:
            tool = said.shown(name)
        else:
            found = next((one for one in source.offers if one.name == name), None)
            if found is None:
                return None
            tool = found
        return Match(tool, score, why, source.risks.get(short, source.risk), source.costs.get(short), said is not None)

    def _is_within(self, match: Match, wanted: Wanted) -> bool:
        if RISKS.index(match.risk) > RISKS.index(wanted.max_risk):
            return False
        cost, most = match.cost, wanted.max_cost
        return cost is None or most is None or (cost.asset == most.asset and cost.units <= most.units)

    # --- what is known ---------------------------------------------------------------------------------------------

    @property
    def _is_small(self) -> bool:
        return len(self._mesh.specs) <= STARTED_MOST

    async def _is_large(self) -> bool:
        """Whether there are more tools than are shown to whoever plans; a server that is not known counts as one."""
        count = len(await self.capabilities())
        if not self._is_small:
            known = {*self._learnt.servers, *self._mesh.offered()}
            count += sum(
                max(1, len(source.offers)) for name, source in (self._sources or {}).items() if name not in known
            )
        return count > SHOWN_MOST

    def _source(self, server: str) -> Source:
        return (self._sources or {}).get(server) or Source(server, server)

    async def _look(self) -> None:
        """Know what there is to know without starting servers; but for those of the settings that never ran."""
        async with self._alone:
            if self._sources is None:
                sources = await self._ask_sources()
                await self._learnt.load({name: one.source for name, one in sources.items()})
                self._sources = sources
            new = [
                spec.name
                for spec in self._mesh.specs
                if spec.name not in self._learnt.servers
                and not self._source(spec.name).registered
                and spec.name not in self._tried
            ]
            self._tried.update(new)
            await self._mesh.start(new)
            for name, tools in self._mesh.offered().items():
                await self._learnt.learn(name, self._source(name).source, tools)

    async def _synced(self) -> "Finder":
        """The index with what is known now."""
        if self._is_small:
            await self._mesh.capabilities()
        if self._finder is None:
            self._finder = self._make_finder()
        await self._take_up(self._finder)
        return self._finder

    async def _take_up(self, finder: "Finder") -> None:
        """Bring the index up to what is known; what did not change is not touched."""
        await self._look()
        async with self._alone:
            for spec in self._mesh.specs:
                said = self._learnt.servers.get(spec.name)
                if spec.name in self._indexed and self._indexed[spec.name] is said:
                    continue
                await finder.put(spec.name, said.documents() if said else self._promised(self._source(spec.name)))
                self._indexed[spec.name] = said

    def _promised(self, source: Source) -> list[ToolDocument]:
        """What is said of a server that never ran here: its tools as it is listed with, or what it is for."""
        if source.offers:
            return [ToolDocument(tool.name, tool.server, tool.tool, tool.description) for tool in source.offers]
        return [ToolDocument(f"{source.name}__", source.name, source.name, source.description)]


def _short(tool: Capability) -> Capability:
    return tool.model_copy(update={"description": tool.description[:TEXT_MAX]})
