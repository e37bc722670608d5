"""The dense model of tool search: any LangChain ``Embeddings``, with the vectors of tools kept in Postgres."""

import asyncio
import itertools
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence

from langchain_core.embeddings import Embeddings

from chimera.core.clock import Clock
from chimera.core.errors import ConfigError, ExtraMissing, StoreError
from chimera.core.ids import digest
from chimera.store.postgres import Pool
from chimera.store.vectors import VectorStore
from chimera.tools.discovery.index import Nearness
from chimera.tools.discovery.query import parts_of

LOCAL = "local"
BATCH = 32
ANSWER_S = 10.0
"""A request is not held up longer than this by the model; words alone decide then."""
BATCH_S = 120.0
REST_S = 60.0
"""A model that failed is asked again after this time."""
_log = logging.getLogger(__name__)


def embeddings_named(name: str) -> Embeddings:
    """The model of a setting: ``local``, or ``PROVIDER:MODEL`` of any that LangChain knows.

    Raises:
        ExtraMissing: a package for it is not installed. ConfigError: there is no such model, or it lacks its key.
    """
    if name == LOCAL:
        from chimera.tools.discovery.local_model import LocalEmbeddings

        return LocalEmbeddings()
    from langchain.embeddings import init_embeddings

    try:
        return init_embeddings(name)
    except ImportError as error:
        raise ExtraMissing(f"the search model {name} needs a package: {error.name}") from error
    except Exception as error:
        raise ConfigError(f"the search model {name} cannot be used: {type(error).__name__}") from error


class Dense:
    """Vectors for tools and requests. Whatever fails here, search goes on with words; that is said once."""

    def __init__(
        self, pool: Pool, clock: Clock, name: str, make: Callable[[str], Embeddings] = embeddings_named
    ) -> None:
        self._name = name
        self._make = make
        self._store = VectorStore(pool, name)
        self._clock = clock
        self._model: Embeddings | None = None
        self._rests_until = 0.0
        self._said = False
        self._names: dict[str, list[str]] = {}
        self._waiting: dict[str, str] = {}
        self._there: set[str] = set()

    def put(self, texts: Mapping[str, str]) -> None:
        """Want a vector for each text, by the full name of its tool; :meth:`catch_up` makes them."""
        for name, text in texts.items():
            found = digest(text)
            same = self._names.setdefault(found, [])
            if name not in same:
                same.append(name)
            if found not in self._there:
                self._waiting[found] = text

    async def catch_up(self, seconds: float) -> None:
        """Make vectors that are wanted, for about so long; the model sees only texts that no process has shown it."""
        model = await self._usable() if self._waiting else None
        if model is None:
            return
        until = self._clock.monotonic() + seconds
        try:
            missing = await self._store.missing(list(self._waiting), self._clock.now())
            self._arrived(self._waiting.keys() - missing)
            while self._waiting and self._clock.monotonic() < until:
                chosen = list(itertools.islice(self._waiting, BATCH))
                vectors = await _embed(model, [self._waiting[one] for one in chosen], BATCH_S)
                await self._store.keep(dict(zip(chosen, vectors, strict=True)), self._clock.now())
                self._arrived(chosen)
        except StoreError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever a model raises, words are left
            self._give_up(error)

    def _arrived(self, digests: Iterable[str]) -> None:
        for one in list(digests):
            self._there.add(one)
            self._waiting.pop(one, None)

    async def near(self, query: str, candidates: Sequence[str]) -> list[Nearness] | None:
        """What the model says of the tools for each part of a request: of the nearest, and of ``candidates``."""
        model = await self._usable() if self._there else None
        if model is None:
            return None
        wanted = set(candidates)
        digests = [one for one, names in self._names.items() if wanted.intersection(names)]
        try:
            vectors = await _embed(model, parts_of(query), ANSWER_S)
        except Exception as error:  # noqa: BLE001 - as above
            self._give_up(error)
            return None
        return [
            Nearness(
                {name: cosine for one, cosine in part.cosines.items() for name in self._names.get(one, ())}, part.some
            )
            for part in await self._store.compared(vectors, digests)
        ]

    async def _usable(self) -> Embeddings | None:
        """The model, unless there is none, or it failed a moment ago."""
        if self._clock.monotonic() < self._rests_until:
            return None
        if self._model is None:
            if not await self._store.ready():
                self._rests_until = float("inf")
                return None
            try:
                self._model = await asyncio.to_thread(self._make, self._name)
            except ConfigError as error:
                self._give_up(error)
        return self._model

    def _give_up(self, error: Exception) -> None:
        self._rests_until = self._clock.monotonic() + REST_S
        if not self._said:
            said = error.message if isinstance(error, ConfigError) else type(error).__name__
            _log.warning("tool search goes on without its dense model %s: %s", self._name, said)
        self._said = True


async def _embed(model: Embeddings, texts: list[str], seconds: float) -> list[list[float]]:
    from chimera.tools.discovery.local_model import normalised

    async with asyncio.timeout(seconds):
        found = await model.aembed_documents(texts)
    rows: list[list[float]] = normalised(found).tolist()
    return rows
