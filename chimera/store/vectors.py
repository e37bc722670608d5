"""Vectors of tools in Postgres, by model and by the digest of the text that they stand for; needs pgvector."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import psycopg

from chimera.core.errors import StoreError
from chimera.core.ids import digest
from chimera.store.postgres import Pool, fetch

NEAREST = 200
"""Neighbours of one vector; the index looks for as many (``hnsw.ef_search``)."""
SAMPLE = 256
WIDTH_MOST = 2_000
"""Wider vectors than that pgvector does not index; they are compared one by one."""
_TABLE = (
    "CREATE EXTENSION IF NOT EXISTS vector",
    """CREATE TABLE IF NOT EXISTS tool_vectors (model text NOT NULL, digest text NOT NULL, embedding vector NOT NULL,
    used_at timestamptz NOT NULL, PRIMARY KEY (model, digest))""",
)
_FORGOTTEN, _NOTED = timedelta(days=90), timedelta(days=1)
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Compared:
    """One vector against those that are kept: cosines by digest, and those of a sample of all."""

    cosines: dict[str, float]
    some: list[float]


class VectorStore:
    """Reads and writes the table ``tool_vectors``, for one model of one width."""

    def __init__(self, pool: Pool, model: str) -> None:
        self._pool = pool
        self._model = model
        self._width = 0
        self._ready: bool | None = None

    async def ready(self) -> bool:
        """Whether the database has pgvector; why not is said once."""
        if self._ready is None:
            try:
                async with self._pool.connection() as connection, connection.transaction():
                    for statement in _TABLE:
                        await connection.execute(statement.encode())
                self._ready = True
            except StoreError as error:
                if not isinstance(error.__cause__, psycopg.Error):
                    raise
                _log.warning("tool search goes without a dense model: the database has no pgvector (%s)", error.message)
                self._ready = False
        return self._ready

    async def missing(self, digests: Sequence[str], at: datetime) -> set[str]:
        """Those of which there is no vector yet; the others are noted as used, and what nobody used is forgotten."""
        rows = await fetch(
            self._pool,
            "WITH gone AS (DELETE FROM tool_vectors WHERE model = %(model)s AND used_at < %(old)s "
            "AND digest <> ALL(%(digests)s)), used AS (UPDATE tool_vectors SET used_at = %(at)s "
            "WHERE model = %(model)s AND digest = ANY(%(digests)s) AND used_at < %(stale)s) "
            "SELECT digest FROM tool_vectors WHERE model = %(model)s AND digest = ANY(%(digests)s)",
            {
                "model": self._model,
                "digests": sorted(set(digests)),
                "at": at,
                "old": at - _FORGOTTEN,
                "stale": at - _NOTED,
            },
        )
        return set(digests) - {row["digest"] for row in rows}

    async def keep(self, vectors: Mapping[str, Sequence[float]], at: datetime) -> None:
        """Add vectors of length one, all of one width, and index them for search by nearness."""
        if not vectors:
            return
        await fetch(
            self._pool,
            "INSERT INTO tool_vectors (model, digest, embedding, used_at) "
            "SELECT %s, digest, vector::vector, %s FROM unnest(%s::text[], %s::text[]) AS new(digest, vector) "
            "ON CONFLICT DO NOTHING",
            (self._model, at, list(vectors), [_written(vector) for vector in vectors.values()]),
        )
        await self._index(len(next(iter(vectors.values()))))

    async def compared(self, vectors: Sequence[Sequence[float]], digests: Sequence[str]) -> list[Compared]:
        """How vectors of length one compare with what is kept: with the nearest, with ``digests``, with some of all."""
        width = len(vectors[0])
        await self._index(width)
        values = {
            "asked": [_written(vector) for vector in vectors],
            "model": self._model,
            "digests": sorted(set(digests)),
            "near": NEAREST,
            "some": SAMPLE,
        }
        cosine = f"1 - (v.embedding::vector({width:d}) <=> a.asked::vector({width:d}))"
        ours = f"v.model = %(model)s AND vector_dims(v.embedding) = {width:d}"
        asked = "FROM unnest(%(asked)s::text[]) WITH ORDINALITY AS a(asked, part) CROSS JOIN LATERAL "
        whole = f"SELECT v.digest, {cosine} AS cosine FROM tool_vectors v WHERE {ours}"  # noqa: S608
        nearest = f"{whole} ORDER BY v.embedding::vector({width:d}) <=> a.asked::vector({width:d}) LIMIT %(near)s"
        kinds = {
            "near": nearest,
            "wanted": f"{whole} AND v.digest = ANY(%(digests)s)",
            "some": f"{whole} ORDER BY v.digest LIMIT %(some)s",  # digests are random: the first are as good as any
        }
        found = [Compared({}, []) for _ in vectors]
        async with self._pool.connection() as connection, connection.transaction():
            await connection.execute(f"SET LOCAL hnsw.ef_search = {NEAREST:d}".encode())
            for kind, query in kinds.items():
                cursor = await connection.execute(f"SELECT a.part, f.* {asked} ({query}) AS f".encode(), values)
                for row in await cursor.fetchall():
                    part = found[int(row["part"]) - 1]
                    if kind == "some":
                        part.some.append(float(row["cosine"]))
                    else:
                        part.cosines[row["digest"]] = float(row["cosine"])
        return found

    async def _index(self, width: int) -> None:
        """An index for this model: the column holds vectors of any width, and an index those of one."""
        if width == self._width or width > WIDTH_MOST:
            return
        name = f"tool_vectors_{digest(f'{self._model} {width}')[:16]}"
        model = self._model.replace("'", "''")
        async with self._pool.connection() as connection, connection.transaction():
            await connection.execute(b"SELECT pg_advisory_xact_lock(hashtext('tool_vectors'))")
            await connection.execute(
                f"CREATE INDEX IF NOT EXISTS {name} ON tool_vectors USING hnsw "
                f"((embedding::vector({width:d})) vector_cosine_ops) "
                f"WHERE model = '{model}' AND vector_dims(embedding) = {width:d}".encode()
            )
        self._width = width


def _written(vector: Sequence[float]) -> str:
    return "[" + ",".join(f"{value:.7g}" for value in vector) + "]"
