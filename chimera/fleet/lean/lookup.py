"""Whether a thread is there: asked by every run that begins, and answered for many of them by one query.

Most threads are new, and to look one up alone costs a third of what its whole run does.
"""

import asyncio

from chimera.store.postgres import Pool

_SQL = (
    "SELECT asked FROM unnest(%s::text[]) AS asked "
    "WHERE EXISTS (SELECT 1 FROM checkpoints WHERE thread_id = asked AND checkpoint_ns = '')"
)


class Lookup:
    """Asks for the threads of one event loop; while one query is under way, the next questions gather."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._asked: list[tuple[str, asyncio.Future[bool]]] = []
        self._reader: asyncio.Task[None] | None = None

    async def known(self, thread_id: str) -> bool:
        """Whether the thread has a checkpoint.

        Raises:
            StoreError: it cannot be read.
        """
        answer: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._asked.append((thread_id, answer))
        if self._reader is None:
            self._reader = asyncio.create_task(self._read_all())
        return await answer

    async def _read_all(self) -> None:
        asked: list[tuple[str, asyncio.Future[bool]]] = []
        try:
            while self._asked:
                asked, self._asked = self._asked, []
                try:
                    found = await self._read([thread_id for thread_id, _ in asked])
                except Exception as error:  # noqa: BLE001 - whoever asked learns of it
                    for _, answer in asked:
                        if not answer.done():
                            answer.set_exception(error)
                else:
                    for thread_id, answer in asked:
                        if not answer.done():  # else whoever asked has been cancelled
                            answer.set_result(thread_id in found)
        finally:
            self._reader = None
            for _, answer in (*asked, *self._asked):
                answer.cancel()

    async def _read(self, threads: list[str]) -> set[str]:
        async with self._pool.connection() as connection:
            cursor = await connection.execute(_SQL, (threads,))
            return {row["asked"] for row in await cursor.fetchall()}
