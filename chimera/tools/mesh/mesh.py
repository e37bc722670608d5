"""All tool servers behind one door: what they offer, and calls with a deadline, a scope and a key."""

import asyncio
import json
import random
from collections.abc import Iterable
from types import TracebackType
from typing import Any, Self

from chimera.core.clock import Clock, SystemClock
from chimera.core.errors import SettingsInvalid, ToolRefused, ToolServerDown, ToolUnknown
from chimera.core.settings import Settings
from chimera.models.limits import Buckets, LocalBuckets
from chimera.tools.capability import NOBODY, Capability, Requester, ToolResult
from chimera.tools.mesh.cache import Cache, KeptResults, key_of
from chimera.tools.mesh.listing import Screen
from chimera.tools.mesh.quotas import Quotas
from chimera.tools.mesh.replicas import Replicas, ServerStatus
from chimera.tools.mesh.servers import ServerSpec
from chimera.tools.mesh.standins import stand_in
from chimera.tools.mesh.trials import Trials, same_call
from chimera.tools.mesh.untrusted import one_line
from chimera.tools.mesh.upkeep import Circuits, HealthBook, Upkeep

EXIT_S = 8.0
STARTS = 16
"""Sessions that start at once: each may be a new process."""
SCOPE_META = "chimera/scope"
KEY_META = "chimera/idempotency-key"


class ToolMesh:
    """The tools of several servers. Each server is started at first need and kept; one that fails harms no other.

    Use as ``async with``; leaving it ends every server. It belongs to the event loop that entered it.
    """

    def __init__(
        self,
        specs: list[ServerSpec],
        settings: Settings,
        clock: Clock | None = None,
        *,
        circuits: Circuits | None = None,
        buckets: Buckets | None = None,
        cache: Cache | None = None,
        screen: Screen | None = None,
        trials: Trials | None = None,
        health: HealthBook | None = None,
    ) -> None:
        """What processes share, if they do: which endpoints fail, what quotas still allow, results that are kept.

        ``screen``: which of the tools that a server lists may be used; ``trials``: whose calls a new version gets;
        ``health``: where it is written down which endpoints are well.
        """
        names = sorted(spec.name for spec in specs)
        if len(set(names)) != len(names):
            raise SettingsInvalid(f"two tool servers have the same name, among {', '.join(names)}")
        self._settings = settings
        self._pick = random.Random()  # noqa: S311 - spreads load, guards nothing
        clock, starts = clock or SystemClock(), asyncio.Semaphore(STARTS)
        self._servers = {spec.name: Replicas(spec, settings, clock, starts, self._pick, screen) for spec in specs}
        self._trials = trials
        self._quotas = Quotas(LocalBuckets(clock), buckets)
        self._kept = KeptResults(cache) if cache is not None else None
        self.upkeep = Upkeep(list(self._servers.values()), settings, clock, circuits, health)
        self._keeping: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._keeping = asyncio.create_task(self.upkeep.run(), name="mesh upkeep")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        owners = {task for server in self._servers.values() for task in server.close()}
        if self._keeping is not None:
            self._keeping.cancel()
            owners.add(self._keeping)
            self._keeping = None
        late = owners
        try:
            if owners:
                _, late = await asyncio.wait(owners, timeout=EXIT_S)
        finally:  # also when this wait is cancelled: a cancelled owner kills its server before it ends
            for task in late:
                task.cancel()
        if late:
            await asyncio.wait(late, timeout=EXIT_S)

    async def capabilities(self) -> list[Capability]:
        """Every usable tool of every server that can be started, by name. Waits no longer than one start may take."""
        self._must_be_open()
        async with asyncio.TaskGroup() as group:
            for server in self._servers.values():
                group.create_task(server.try_start())
        hidden = self._trials.hidden if self._trials else frozenset[str]()
        shown = (server for name, server in self._servers.items() if name not in hidden)
        return sorted((tool for server in shown for tool in server.tools()), key=lambda tool: tool.name)

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
        """Call a tool by its full name, ``server__tool``, on account of ``requester``.

        Scope (whose artifacts the call may see) and key (the same for each repetition of one call) travel beside the
        arguments, where no model writes. ``deadline_s`` bounds all of it, starts included; default: the settings'
        ``tool_timeout_s``. When one replica fails, another is asked, or the same after a new start, if the call was
        certainly not carried out before or the tool says that repeating it does no harm. A second replica is asked
        beside one that is late, for tools that do no harm twice. A server's quota is waited for; a result that is kept
        is given again; and when the server cannot be reached, one that its entry names may stand in.

        Raises:
            ToolUnknown: no such server, or it has no such usable tool.
            ToolServerDown: the server cannot be used. Here and in ToolTimeout ``context["outcome"]`` is "not done",
                or "unknown" when the call may have been carried out.
            ToolTimeout: no answer before the deadline; the server was told to stop.
            ToolResultTooLarge: more than the settings' ``tool_result_max_bytes``.
            ToolRefused: the server gave a reason instead of a result, or the arguments cannot be sent.
            ToolBusy: the server's quota is used up until then. ToolFailed: the answer is not a valid tool result.
        """
        self._must_be_open()
        name = self._tried(name, requester)
        server = self._servers.get(name.partition("__")[0])
        if server is None:
            raise ToolUnknown(f"{one_line(name, 120)}: there is no server of that name", tool=name[:120])
        sendable = _sendable(name, arguments, self._settings.tool_argument_max_bytes)
        seconds = self._settings.tool_timeout_s if deadline_s is None else deadline_s
        until = asyncio.get_running_loop().time() + seconds
        tool, keep_s = server.tool(name), server.spec.cache_s
        kept = key_of(tool, sendable, requester) if self._kept and keep_s and tool and tool.read_only else ""
        if self._kept and kept and (known := await self._kept.get(kept)) is not None:
            return known
        meta = {SCOPE_META: scope, KEY_META: idempotency_key}
        try:
            result = await self._ask(server, name, sendable, meta, requester, until)
        except ToolServerDown as error:
            other = self._stand_in(server, tool, sendable, error)
            if other is None:
                raise
            result = await self._ask(*other, sendable, meta, requester, until)
        if self._kept and kept:
            await self._kept.put(kept, result, keep_s)
        return result

    def _tried(self, name: str, requester: Requester) -> str:
        """The same tool of the version that is tried with this agent, if it is the tool that the guards judged."""
        server, _, short = name.partition("__")
        other = self._trials.server_for(server, requester.agent) if self._trials else server
        if other == server or other not in self._servers or server not in self._servers:
            return name
        before, now = self._servers[server].tool(name), self._servers[other].tool(f"{other}__{short}")
        return now.name if before is not None and now is not None and same_call(before, now) else name

    async def _ask(
        self,
        server: Replicas,
        name: str,
        arguments: dict[str, Any],
        meta: dict[str, str],
        requester: Requester,
        until: float,
    ) -> ToolResult:
        await self._quotas.admit(server.spec.name, server.spec.quota, requester, until)
        return await server.call(name, arguments, meta, until - asyncio.get_running_loop().time())

    def _stand_in(
        self, server: Replicas, tool: Capability | None, arguments: dict[str, Any], error: ToolServerDown
    ) -> tuple[Replicas, str] | None:
        """Who may be asked instead. Not when the call may have been carried out and would be again."""
        surely_not = error.context.get("outcome") == "not done"
        if tool is None or not (surely_not or tool.read_only or tool.idempotent):
            return None
        for other in (self._servers[name] for name in server.spec.fallbacks if name in self._servers):
            if (found := stand_in(tool, arguments, other.tools())) is not None:
                return other, found.name
        return None

    @property
    def specs(self) -> list[ServerSpec]:
        """The servers that agents may be shown, by name; not those that are tried in the place of another."""
        hidden = self._trials.hidden if self._trials else frozenset[str]()
        return [self._servers[name].spec for name in sorted(self._servers.keys() - hidden)]

    async def start(self, names: Iterable[str]) -> None:
        """Start those servers that do not run, and wait no longer than a start may take."""
        self._must_be_open()
        async with asyncio.TaskGroup() as group:
            for name in sorted(self._servers.keys() & set(names)):
                group.create_task(self._servers[name].try_start())

    def offered(self) -> dict[str, list[Capability]]:
        """What each server offers that runs or rested for want of use, by its name. Starts nothing."""
        return {spec.name: found for spec in self.specs if (found := self._servers[spec.name].tools())}

    def unwell(self) -> set[str]:
        """The servers that could not be reached a moment ago, with all their replicas. Starts nothing."""
        return {
            name
            for name, server in self._servers.items()
            if all(one.keeper.resting or one.breaker.is_open for one in server.replicas)
        }

    def status(self) -> list[ServerStatus]:
        """The state of every server as far as it is known, by name. Starts nothing."""
        return [self._servers[name].status() for name in sorted(self._servers)]

    def _must_be_open(self) -> None:
        if self._keeping is None:
            raise ToolServerDown("the tool mesh is not open", remedy="Use it inside `async with`.")


def _sendable(name: str, arguments: dict[str, Any], limit: int) -> dict[str, Any]:
    """The arguments as plain JSON; anything else would end the session when it is written."""
    try:
        text = json.dumps(arguments, ensure_ascii=False, allow_nan=False)
        size = len(text.encode())
    except (TypeError, ValueError, RecursionError):
        raise ToolRefused(f"{one_line(name, 120)}: the arguments are not plain JSON", tool=name[:120]) from None
    if size > limit:
        raise ToolRefused(f"{one_line(name, 120)}: the arguments are larger than {limit:,} bytes", tool=name[:120])
    return json.loads(text)
