"""LangGraph's Postgres saver with group commit: the same tables, the same reads, no lock around them."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    WRITES_IDX_MAP,
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    get_serializable_checkpoint_metadata,
)
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from langgraph.checkpoint.serde.types import _DeltaSnapshot  # pyright: ignore[reportPrivateUsage]
from psycopg import AsyncCursor
from psycopg.rows import DictRow, dict_row

from chimera.core.timing import step_ended
from chimera.store.checkpoints.group import GroupCommit
from chimera.store.checkpoints.rows import Unit, plain_json
from chimera.store.postgres import Pool


class GroupCommitSaver(AsyncPostgresSaver):
    """Saves through a :class:`GroupCommit`; a put returns when its rows are committed.

    It overrides what writes, and ``_cursor``, in which the stock saver lets one task at a time use its pool. Threads
    are read, listed, pruned and resumed by either.
    """

    def __init__(self, pool: Pool, group: GroupCommit | None = None) -> None:
        super().__init__(pool)
        self._pool = pool
        self.group = group or GroupCommit(pool)

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """Commit a checkpoint with the values that are new in it.

        Raises:
            StoreError: it is not saved; see :meth:`GroupCommit.commit`.
        """
        where = config.get("configurable", {})
        thread_id, namespace = str(where["thread_id"]), str(where["checkpoint_ns"])
        inline: dict[str, Any] = {}
        apart: dict[str, Any] = {}
        for channel, value in checkpoint["channel_values"].items():
            if value is None or isinstance(value, str | int | float | bool):
                inline[channel] = value
            else:
                apart[channel] = value
                if isinstance(value, _DeltaSnapshot):
                    inline[channel] = True
        row = (
            thread_id,
            namespace,
            checkpoint["id"],
            where.get("checkpoint_id"),
            plain_json({**checkpoint, "channel_values": inline}),
            plain_json(get_serializable_checkpoint_metadata(config, metadata)),
        )
        versions: ChannelVersions = {channel: new for channel, new in new_versions.items() if channel in apart}
        await self.group.commit(Unit((row,), self._dump_blobs(thread_id, namespace, apart, versions)))
        step_ended()
        return {"configurable": {"thread_id": thread_id, "checkpoint_ns": namespace, "checkpoint_id": checkpoint["id"]}}

    async def aput_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        """Commit what a task has written before its step is over.

        Raises:
            StoreError: it is not saved; see :meth:`GroupCommit.commit`.
        """
        where = config.get("configurable", {})
        place = (str(where["thread_id"]), str(where["checkpoint_ns"]), str(where["checkpoint_id"]))
        rows = self._dump_writes(*place, task_id, task_path, writes)
        await self.group.commit(Unit(writes=rows, replaces=all(channel in WRITES_IDX_MAP for channel, _ in writes)))

    @asynccontextmanager
    async def _cursor(self, *, pipeline: bool = False) -> AsyncGenerator[AsyncCursor[DictRow]]:
        async with (
            self._pool.connection() as connection,
            connection.cursor(binary=True, row_factory=dict_row) as cursor,
        ):
            if pipeline:
                async with connection.transaction():
                    yield cursor
            else:
                yield cursor


@asynccontextmanager
async def open_saver(pool: Pool, group: GroupCommit | None = None) -> AsyncGenerator[GroupCommitSaver]:
    """A saver that has written everything when the block is over."""
    saver = GroupCommitSaver(pool, group)
    try:
        yield saver
    finally:
        await saver.group.drain()
