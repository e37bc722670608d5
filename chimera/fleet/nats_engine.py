"""The engine for many machines: NATS JetStream brings word of runs to workers that have room.

A message carries the id of a run and nothing else. A worker asks for as many messages as it has room, and each is worth
one claim in Postgres, which decides what is run, and by whom: limits, order and fences are the same as without NATS. So
a message may be lost, come twice or be late. The table of runs is the outbox: what nobody came for is told again by the
sweep, and workers look by themselves now and then.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import TYPE_CHECKING

from chimera.core.errors import ExtraMissing, StoreUnavailable
from chimera.fleet.postgres_engine import PostgresEngine, looking
from chimera.store.listening import Listener, heard, open_listener
from chimera.store.postgres import Pool
from chimera.store.runs import ARRIVED, ENDED, STOPPED, NewRun

if TYPE_CHECKING:
    from nats.aio.client import Client
    from nats.js import JetStreamContext

log = logging.getLogger(__name__)
STREAM = "CHIMERA_RUNS"
SUBJECT = "chimera.runs"
FORGOTTEN_S = 3.0
"""How long nobody may have come for a run before the sweep tells of it again."""
_CONNECT_S = 5.0
_PUBLISH_S = 5.0
_ROOM_MOST = 256
_STREAM_BYTES = 1 << 30


class NatsEngine(PostgresEngine):
    """See :class:`chimera.fleet.engine.Engine`."""

    name = "nats"

    def __init__(self, pool: Pool, listener: Listener, stack: AsyncExitStack, client: "Client") -> None:
        super().__init__(pool, listener, stack)
        self._client = client
        self._stream: JetStreamContext = client.jetstream(timeout=_PUBLISH_S)
        self._inbox: JetStreamContext.PullSubscription | None = None

    async def enqueue(self, runs: Sequence[NewRun]) -> list[str]:
        """Record runs and send word of them; the ids of those that were not known yet.

        Raises:
            InputError: one carries too much, or a pool does not exist.
        """
        new = await self.runs.enqueue(runs, tell=False)
        known = set(new)
        await self._publish(run.id for run in runs if run.id in known and run.delay_s <= 0)
        return new

    async def sweep(self) -> dict[str, str]:
        """Give the runs of lost workers to others, and send word again of what nobody came for."""
        swept = await self.runs.sweep()
        await self._publish(run_id for run_id, _ in await self.runs.unclaimed(FORGOTTEN_S, _ROOM_MOST))
        return swept

    async def arrival(self, room: int, pools: Sequence[str] | None, timeout_s: float) -> None:
        """Return when there may be something to claim, at the latest after ``timeout_s``."""
        from nats.errors import Error

        try:
            async with asyncio.timeout(timeout_s):
                inbox = await self._open_inbox()
                messages = await inbox.fetch(min(room, _ROOM_MOST), timeout=timeout_s)
                for message in messages:  # Postgres has the run: whether it is claimed or not, this has done its work
                    await message.ack()
        except TimeoutError:
            return
        except (Error, OSError) as error:
            log.info("no word from NATS: %s", type(error).__name__)
            self._inbox = None
            await heard(self._arrived, min(timeout_s, 0.5))

    async def _open_inbox(self) -> "JetStreamContext.PullSubscription":
        """One consumer for all workers: each message goes to one of those that asked."""
        if self._inbox is None:
            await _make_stream(self._stream)
            self._inbox = await self._stream.pull_subscribe(SUBJECT, durable="workers", stream=STREAM)
        return self._inbox

    async def _publish(self, ids: Iterable[str]) -> None:
        """Send word of runs; when NATS is away, nothing is lost but time."""
        from nats.errors import Error

        try:
            async with asyncio.timeout(_PUBLISH_S):
                for run_id in ids:
                    await self._client.publish(SUBJECT, run_id.encode())
                await self._client.flush()
        except (Error, OSError, TimeoutError) as error:
            log.info("no word was sent: %s", type(error).__name__)


@asynccontextmanager
async def open_nats_engine(pool: Pool, url: str, nats_url: str) -> AsyncGenerator[NatsEngine]:
    """The engine on a database and a NATS server or cluster.

    Raises:
        ExtraMissing: its client is not installed. StoreUnavailable: NATS or the database is away.
    """
    try:
        import nats
        from nats.errors import Error
    except ImportError:
        raise ExtraMissing("the engine nats needs the extra nats", remedy="pip install 'chimera-swarm[nats]'") from None

    async def quiet(error: Exception) -> None:
        log.info("NATS: %s", type(error).__name__)

    try:
        async with asyncio.timeout(2 * _CONNECT_S):
            await (await nats.connect(nats_url, allow_reconnect=False, error_cb=quiet)).close()
            client = await nats.connect(nats_url, max_reconnect_attempts=-1, reconnect_time_wait=0.2, error_cb=quiet)
            await _make_stream(client.jetstream(timeout=_PUBLISH_S))
    except (Error, OSError, TimeoutError) as error:
        raise StoreUnavailable(
            f"NATS cannot be reached: {type(error).__name__}",
            remedy="Check CHIMERA_NATS_URL, or use --engine postgres.",
        ) from None
    async with AsyncExitStack() as stack:
        stack.push_async_callback(_close, client)
        listener = await stack.enter_async_context(open_listener(url, (ARRIVED, ENDED, STOPPED)))
        engine = NatsEngine(pool, listener, stack, client)
        await stack.enter_async_context(looking(engine.outcomes))
        yield engine


async def _close(client: "Client") -> None:
    with suppress(OSError):  # of a server that has gone
        await client.close()


async def _make_stream(stream: "JetStreamContext") -> None:
    from nats.js.api import RetentionPolicy, StorageType, StreamConfig

    await stream.add_stream(
        StreamConfig(
            name=STREAM,
            subjects=[SUBJECT],
            retention=RetentionPolicy.WORK_QUEUE,
            storage=StorageType.FILE,
            max_bytes=_STREAM_BYTES,
        )
    )
