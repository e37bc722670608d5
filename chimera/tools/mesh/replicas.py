"""One server as it is used: its replicas, which of them is asked, and who is asked next when one fails."""

import asyncio
import itertools
from collections.abc import Coroutine
from dataclasses import dataclass, field
from random import Random
from typing import Any, Literal

from pydantic import Field

from chimera.core.clock import Clock
from chimera.core.contracts import Contract
from chimera.core.errors import ToolFailed, ToolServerDown, ToolTimeout
from chimera.core.settings import Settings
from chimera.tools.capability import Capability, ToolResult
from chimera.tools.mesh.breaker import Breaker
from chimera.tools.mesh.failures import Late, Lost
from chimera.tools.mesh.hedge import Patience, first_answer
from chimera.tools.mesh.keeper import EndpointStatus, Keeper
from chimera.tools.mesh.listing import Screen
from chimera.tools.mesh.load import Load, less_busy
from chimera.tools.mesh.servers import ServerSpec

ATTEMPTS = 3
FAILED_S = 0.5
"""A failure counts as an answer that took so long: else the replica that fails at once would seem the fastest."""
_DEATHS = 2  # a server that died is started again once in one call


class ServerStatus(Contract):
    """One server, for people to read. It is as well as its best replica."""

    name: str
    transport: Literal["stdio", "http", "sse"]
    state: Literal["idle", "starting", "up", "down"]
    tools: list[str] = Field(default_factory=list, description="full names")
    dropped: list[str] = Field(default_factory=list, description="tools that cannot be used, each with its reason")
    version: str = Field(default="", description="name and version that the server gave")
    error: str = ""
    unhealthy: str = Field(default="", description="why no replica is to be relied on now; empty when one is well")
    replicas: list[EndpointStatus] = Field(default_factory=list[EndpointStatus])


@dataclass(frozen=True)
class Replica:
    """One endpoint with what is known of its health."""

    keeper: Keeper
    load: Load
    breaker: Breaker
    place: int

    def status(self) -> EndpointStatus:
        """What is known about it now."""
        found = self.keeper.status()
        if self.breaker.is_open and not found.unhealthy:
            return found.model_copy(update={"unhealthy": "it failed too often"})
        return found


@dataclass
class Call:
    """One call under way: what was tried, and what came of it."""

    name: str
    arguments: dict[str, Any]
    meta: dict[str, str]
    seconds: float
    until: float
    tool: Capability | None
    tried: list[Replica] = field(default_factory=list[Replica])
    deaths: dict[int, int] = field(default_factory=dict[int, int])
    sent: bool = False
    lost: Lost | None = None

    @property
    def repeatable(self) -> bool:
        """Whether making it twice does no harm, as the server says."""
        return self.tool is not None and (self.tool.read_only or self.tool.idempotent)


class Replicas:
    """The replicas of one server. They offer the same tools; one that does not is not used."""

    def __init__(
        self,
        spec: ServerSpec,
        settings: Settings,
        clock: Clock,
        starts: asyncio.Semaphore,
        pick: Random,
        screen: Screen | None = None,
    ) -> None:
        self.spec = spec
        self._clock = clock
        self._pick = pick
        self._patience: dict[str, Patience] = {}
        self.replicas = [
            Replica(Keeper(one, settings, clock, starts, screen), Load(clock), Breaker(clock, pick), place)
            for place, one in enumerate(spec.endpoints())
        ]

    async def try_start(self) -> None:
        """Start the replicas that do not run; ``status`` tells how it went."""
        async with asyncio.TaskGroup() as group:
            for replica in self.replicas:
                group.create_task(replica.keeper.try_start())

    async def call(self, name: str, arguments: dict[str, Any], meta: dict[str, str], seconds: float) -> ToolResult:
        """Call a tool by its full name. Raises what ``ToolMesh.call`` says."""
        call = Call(name, arguments, meta, seconds, asyncio.get_running_loop().time() + seconds, self.tool(name))
        for _ in range(ATTEMPTS):
            replica = self.choose(call)
            if replica is None:
                break
            try:
                return await self._ask(replica, call)
            except Late as late:
                raise _late(call, self.spec.name, sent=call.sent or late.sent) from None
            except Lost:
                call.tool = call.tool or self.tool(name)
                if call.sent and not call.repeatable:
                    break
        raise self._gave_up(call)

    def tools(self) -> list[Capability]:
        """What can be called."""
        usable = next((one.keeper for one in self.replicas if one.keeper.usable and one.keeper.known.tools), None)
        return list(usable.known.tools.values()) if usable else []

    def status(self) -> ServerStatus:
        """What is known about the server now."""
        each = [replica.status() for replica in self.replicas]
        best = min(each, key=lambda one: ("up", "idle", "starting", "down").index(one.state))
        dropped = next((found for one in self.replicas if (found := one.keeper.known.dropped)), dict[str, str]())
        return ServerStatus(
            name=self.spec.name,
            transport=self.spec.transport,
            state=best.state,
            tools=sorted(tool.name for tool in self.tools()),
            dropped=[f"{tool}: {why}" for tool, why in sorted(dropped.items())],
            version=best.version,
            error=best.error,
            unhealthy=each[0].unhealthy if all(one.unhealthy for one in each) else "",
            replicas=each if len(each) > 1 else [],
        )

    def close(self) -> set[asyncio.Task[None]]:
        """End all replicas for good; the tasks are done when their processes are gone."""
        return set(itertools.chain.from_iterable(replica.keeper.close() for replica in self.replicas))

    def tool(self, name: str) -> Capability | None:
        """What the tool is: what the first replica that knows it says."""
        short = name.partition("__")[2]
        return next((found for one in self.replicas if (found := one.keeper.known.tools.get(short))), None)

    def choose(self, call: Call) -> Replica | None:
        """Whom to ask next. A call that may be made twice is the one to try a replica with that failed before."""

        def rank(one: Replica) -> tuple[bool, ...]:
            probe = one.breaker.wants_probe
            unfit = probe and not call.repeatable
            return one in call.tried, one.keeper.resting, unfit, one.breaker.is_aside, not probe

        usable = [one for one in self.replicas if not one.breaker.is_open and call.deaths.get(one.place, 0) < _DEATHS]
        best = min(map(rank, usable), default=None)
        return less_busy([one for one in usable if rank(one) == best], self._pick) if best else None

    async def _ask(self, replica: Replica, call: Call) -> ToolResult:
        """Ask one, and a second one when that is late, if making the call twice does no harm."""
        patience = self._patience.setdefault(call.name, Patience())
        if len(self.replicas) == 1 or not call.repeatable:
            return await self._attempt(replica, call, patience)

        def another() -> Coroutine[Any, Any, ToolResult] | None:
            other = self.choose(call)
            if other is None or other in call.tried:
                return None
            patience.lost()
            return self._attempt(other, call, patience)

        first = self._attempt(replica, call, patience)
        return await first_answer(first, patience.seconds(), another, replica.breaker.failure)

    async def _attempt(self, replica: Replica, call: Call, patience: Patience) -> ToolResult:
        call.tried.append(replica)
        replica.breaker.enter()
        replica.load.in_hand += 1
        began = self._clock.monotonic()
        try:
            result = await replica.keeper.call(call.tool, call.name, call.arguments, call.meta, call.until)
        except (Lost, Late) as failure:
            replica.load.took_more_than(max(FAILED_S, self._clock.monotonic() - began))
            replica.breaker.failure(began if isinstance(failure, Late) or failure.dead else None)
            if isinstance(failure, Lost):
                call.lost, call.sent = failure, call.sent or failure.sent
                call.deaths[replica.place] = call.deaths.get(replica.place, 0) + failure.dead
            raise
        except ToolFailed:
            replica.breaker.success()  # it answered, if not as we would like
            raise
        except BaseException:
            replica.load.took_more_than(self._clock.monotonic() - began)
            replica.breaker.leave()
            raise
        finally:
            replica.load.in_hand -= 1
        replica.breaker.success()
        took = self._clock.monotonic() - began
        replica.load.took(took)
        patience.took(took)
        return result

    def _gave_up(self, call: Call) -> ToolFailed:
        if call.lost is not None and call.lost.told is not None:
            return call.lost.told
        left = min(one.breaker.left_s() for one in self.replicas)
        reason = call.lost.reason if call.lost else f"it failed too often, and is tried again in {left:.0f} s"
        said = f"{call.name}: no answer from the server: {reason}; {_outcome(call.sent)}"
        return ToolServerDown(said, **_context(call, self.spec.name, call.sent))


def _late(call: Call, server: str, sent: bool) -> ToolTimeout:
    seconds = f"{call.seconds:.3g} s"
    why = f"no answer within {seconds}" if sent else f"the server is still starting after {seconds}"
    return ToolTimeout(f"{call.name}: {why}; {_outcome(sent)}", **_context(call, server, sent))


def _context(call: Call, server: str, sent: bool) -> dict[str, str]:
    return {"tool": call.name[:120], "server": server, "outcome": "unknown" if sent else "not done"}


def _outcome(sent: bool) -> str:
    return "whether the call took effect is unknown" if sent else "the call was not made"
