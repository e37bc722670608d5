"""What a thread saves: each superstep as the rows that LangGraph's own Postgres saver would write, in one commit."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import WRITES_IDX_MAP, CheckpointMetadata, get_serializable_checkpoint_metadata

from chimera.fleet.lean.internals import (
    CONTROL_WRITES,
    LATEST_VERSION,
    NO_WRITES,
    PULL,
    task_path_str,
    uuid6,
)
from chimera.fleet.lean.plan import Write
from chimera.fleet.lean.thread import Thread
from chimera.store.checkpoints import GroupCommitSaver
from chimera.store.checkpoints.rows import BlobRow, CheckpointRow, Unit, plain_json


class Journal:
    """Saves one thread's steps. What is taken with :meth:`take` is on disk after the next :meth:`commit`."""

    __slots__ = ("_blobs", "_extra", "_rows", "_saver", "_seen", "_thread", "_thread_id")

    def __init__(self, saver: GroupCommitSaver, thread: Thread, thread_id: str, config: RunnableConfig) -> None:
        self._saver = saver
        self._thread = thread
        self._thread_id = thread_id
        own = {"source", "step", "parents"}
        extra = get_serializable_checkpoint_metadata(config, CheckpointMetadata())
        self._extra = "".join(
            f", {_quoted(key)}: {plain_json(value)}" for key, value in extra.items() if key not in own
        )
        self._rows: list[CheckpointRow] = []
        self._blobs: list[BlobRow] = []
        self._seen: dict[str, str] = {}

    def next_version(self) -> Any:
        """The version that everything gets which the next step changes."""
        versions = self._thread.versions
        return self._saver.get_next_version(max(versions.values()) if versions else None, None)

    def take(self, source: str, updated: set[str] | None) -> None:
        """Make the checkpoint of the step that the thread has just taken, and go on to the next step."""
        thread = self._thread
        checkpoint_id = str(uuid6(clock_seq=thread.step))
        versions, changed = thread.versions, thread.changed
        inline: dict[str, Any] = {}
        for channel, value in thread.values.items():
            if channel not in versions:
                continue  # a reducer's first value, which nobody has written
            if value is None or isinstance(value, str | int | float | bool):
                inline[channel] = value
            elif channel in changed:
                self._blobs.append(self._blob(channel, value))
        self._blobs.extend(self._blob(name, thread.joins[name]) for name in thread.plan.joins if name in changed)
        updates = None if updated is None else sorted(updated)
        for node in thread.looked:
            self._seen[node] = f"{_quoted(node)}: {_versions(thread.seen[node])}"
        seen = ", ".join(self._seen.values())
        # Written by hand but for the values: it is the same few names and numbers, thousands of times a second.
        checkpoint = (
            f'{{"v": {LATEST_VERSION}, "ts": "{datetime.now(UTC).isoformat()}", "id": "{checkpoint_id}", '
            f'"channel_values": {plain_json(inline)}, "channel_versions": {_versions(versions)}, '
            f'"versions_seen": {{{seen}}}, "updated_channels": {plain_json(updates)}}}'
        )
        metadata = f'{{"source": "{source}", "step": {thread.step}, "parents": {{}}{self._extra}}}'
        self._rows.append((self._thread_id, "", checkpoint_id, thread.parent, checkpoint, metadata))
        thread.parent = checkpoint_id
        thread.changed = set()
        thread.looked = set()
        thread.step += 1

    async def commit(self) -> None:
        """Return when everything that was taken is on disk.

        Raises:
            StoreError: it is not; see ``GroupCommit.commit``.
        """
        if self._rows:
            unit = Unit(tuple(self._rows), tuple(self._blobs))
            self._rows, self._blobs = [], []
            await self._saver.group.commit(unit)

    async def note(self, task_id: str, name: str, writes: Sequence[Write]) -> None:
        """Save what a task of the step under way has done, or why it stopped, beside the step's checkpoint.

        Raises:
            StoreError: it is not saved.
        """
        if all(channel in WRITES_IDX_MAP for channel, _ in writes):  # of each kind the last one, as LangGraph has it
            writes = list({channel: (channel, value) for channel, value in writes}.values())
        rows = self._saver._dump_writes(  # pyright: ignore[reportPrivateUsage] - the rows of the stock saver
            self._thread_id, "", str(self._thread.parent), task_id, task_path_str((PULL, name)), writes
        )
        await self._saver.group.commit(
            Unit(writes=rows, replaces=all(channel in WRITES_IDX_MAP for channel, _ in writes))
        )

    async def note_done(self, task_id: str, name: str, writes: Sequence[Write]) -> None:
        """Save that a task has finished while others of its step have not, so that it is not run again.

        Raises:
            StoreError: it is not saved.
        """
        silent = all(channel in CONTROL_WRITES for channel, _ in writes)
        await self.note(task_id, name, [*writes, (NO_WRITES, None)] if silent else writes)

    def _blob(self, channel: str, value: Any) -> BlobRow:
        kind, data = self._saver.serde.dumps_typed(value)
        return (self._thread_id, "", channel, self._thread.versions[channel], kind, data)


@lru_cache(maxsize=4_096)
def _quoted(name: str) -> str:
    return plain_json(name)


def _versions(versions: Mapping[str, Any]) -> str:
    """Versions as JSON; the saver's are made of digits and a point."""
    return "{" + ", ".join([f'{_quoted(name)}: "{version}"' for name, version in versions.items()]) + "}"
