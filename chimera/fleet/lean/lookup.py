"""Whether a thread is there: asked by every run that begins, and answered for many of them by one query.

Most threads are new, and to look one up alone costs a third of what its whole run does.
"""

from collections.abc import Sequence

from chimera.store.postgres import Connection, Pool
from chimera.store.together import Together

_SQL = (
    "SELECT asked FROM unnest(%s::text[]) AS asked "
    "WHERE EXISTS (SELECT 1 FROM checkpoints WHERE thread_id = asked AND checkpoint_ns = '')"
)


class Lookup:
    """Asks for the threads of one event loop, in the transactions that others write in."""

    def __init__(self, pool: Pool) -> None:
        self._together: Together[Connection, str, bool] = Together(pool.turns, _read)

    async def known(self, thread_id: str) -> bool:
        """Whether the thread has a checkpoint.

        Raises:
            StoreError: it cannot be read.
        """
        return await self._together.submit(thread_id)


async def _read(connection: Connection, threads: Sequence[str]) -> list[bool]:
    cursor = await connection.execute(_SQL, (list(threads),))
    found = {row["asked"] for row in await cursor.fetchall()}
    return [thread_id in found for thread_id in threads]
