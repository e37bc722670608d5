"""Learn the ranking from sets of requests whose answers are known: LambdaMART over the features of the candidates."""

import importlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from chimera.evals.discovery.data import ToolSet
from chimera.tools.discovery.index import ToolIndex
from chimera.tools.discovery.query import parts_of
from chimera.tools.discovery.ranking import Ranking, Trees
from chimera.tools.discovery.terms import Floats
from chimera.tools.discovery.words import stems

COMMON_LEAST = 0.01
"""The least share of requests that say a stem, for it to be kept as a word of requests."""
COMMON_SLOPE = 20
TREES = 120
LEAVES = 16
DEPTH = 6
_PARAMETERS: Mapping[str, Any] = {
    "objective": "lambdarank",
    "lambdarank_truncation_level": 15,
    "num_leaves": LEAVES,
    "max_depth": DEPTH,
    "learning_rate": 0.05,
    "min_data_in_leaf": 60,
    "feature_fraction": 0.5,
    "bagging_fraction": 0.7,
    "bagging_freq": 1,
    "lambda_l2": 5,
    "num_threads": 1,
    "deterministic": True,
    "force_row_wise": True,
    "seed": 0,
    "verbose": -1,
}


@dataclass(frozen=True)
class Vectors:
    """What a dense model says of one set: a row per document, and the rows of each request's parts."""

    documents: Floats
    queries: Sequence[Floats]


@dataclass(frozen=True)
class Example:
    """The candidates of one request: their figures by name, and which of them answer it."""

    figures: Mapping[str, Floats]
    answers: Floats


def encoded(data: ToolSet, encoder: Any) -> Vectors:
    """Have a dense model read a set."""
    parts = [parts_of(query) for query in data.queries]
    rows = cast("Floats", encoder.encode([part for cut in parts for part in cut]))
    ends = np.cumsum([len(cut) for cut in parts])
    documents = cast("Floats", encoder.encode([document.text() for document in data.documents]))
    return Vectors(documents, np.split(rows, ends[:-1]))


def filled_index(data: ToolSet, ranking: Ranking | None = None, vectors: Vectors | None = None) -> ToolIndex:
    """An index with the tools of a set."""
    index = ToolIndex(ranking=ranking)
    by_server: dict[str, list[int]] = {}
    for at, document in enumerate(data.documents):
        by_server.setdefault(document.server, []).append(at)
    for server, places in by_server.items():
        rows = None if vectors is None else vectors.documents[places]
        index.put(server, [data.documents[at] for at in places], rows)
    return index


def common_words(sets: Sequence[ToolSet]) -> dict[str, float]:
    """The stems that requests say whatever they ask for, with what is left of their weight; sets count alike."""
    shares: Counter[str] = Counter()
    for data in sets:
        said = Counter(stem for query in data.queries for stem in set(stems(query)))
        for stem, count in said.items():
            shares[stem] += count / len(data.queries) / len(sets)  # pyright: ignore[reportArgumentType] - a share
    kept = sorted(stem for stem, share in shares.items() if share >= COMMON_LEAST)
    return {stem: 1 / (1 + COMMON_SLOPE * shares[stem]) for stem in kept}


def learn(sets: Sequence[ToolSet], vectors: Sequence[Vectors]) -> Ranking:
    """The ranking that these sets teach, each as much as another."""
    untaught = Ranking(request_words=common_words(sets), lexical=_NO_TREES, dense=_NO_TREES)
    lexical = [examples(data, untaught, None) for data in sets]
    dense = [examples(data, untaught, rows) for data, rows in zip(sets, vectors, strict=True)]
    return Ranking(request_words=untaught.request_words, lexical=_fit(lexical), dense=_fit(dense))


def examples(data: ToolSet, ranking: Ranking, vectors: Vectors | None) -> list[Example]:
    """The candidates of each request of a set."""
    index = filled_index(data, ranking, vectors)
    found: list[Example] = []
    for at, (query, relevant) in enumerate(zip(data.queries, data.relevant, strict=True)):
        look = index.look(query, vectors=None if vectors is None else vectors.queries[at])
        wanted = {data.documents[place].name for place in relevant}
        answers = np.array([entry.document.name in wanted for entry in look.entries], dtype=np.float32)
        found.append(Example(look.figures, answers))
    return found


def _fit(sets: Sequence[Sequence[Example]]) -> Trees:
    lightgbm: Any = importlib.import_module("lightgbm")  # untyped
    useful = [[example for example in examples if example.answers.any()] for examples in sets]
    kept = [example for examples in useful for example in examples]
    names = tuple(kept[0].figures)
    matrix = np.concatenate([np.stack([one.figures[name] for name in names], axis=1) for one in kept])
    weights = [
        np.full(len(one.answers), 100 / len(examples), dtype=np.float32) for examples in useful for one in examples
    ]
    data = lightgbm.Dataset(
        matrix.astype(np.float32),
        np.concatenate([one.answers for one in kept]),
        group=[len(one.answers) for one in kept],
        weight=np.concatenate(weights),
    )
    model = lightgbm.train(dict(_PARAMETERS), data, TREES)
    return trees_of(model.dump_model()["tree_info"], names)


def trees_of(dumped: Sequence[Mapping[str, Any]], names: tuple[str, ...]) -> Trees:
    """LightGBM's trees as arrays."""
    nodes: list[list[tuple[int, float, int, int, float]]] = []
    for tree in dumped:
        rows: list[tuple[int, float, int, int, float]] = []
        _flatten(tree["tree_structure"], rows)
        nodes.append(rows)
    width = max(len(rows) for rows in nodes)
    padded = [rows + [(0, 0.0, 0, 0, 0.0)] * (width - len(rows)) for rows in nodes]
    columns = [np.array([[row[at] for row in rows] for rows in padded]) for at in range(5)]
    return Trees(
        names=names,
        feature=columns[0].astype(np.int16),
        threshold=columns[1].astype(np.float32),
        left=columns[2].astype(np.int16),
        right=columns[3].astype(np.int16),
        value=columns[4].astype(np.float32),
        depth=DEPTH,
    )


def _flatten(node: Mapping[str, Any], rows: list[tuple[int, float, int, int, float]]) -> int:
    """Append a node and those below it; returns its place. A leaf is its own child."""
    place = len(rows)
    rows.append((0, 0.0, place, place, float(node.get("leaf_value", 0.0))))
    if "split_feature" in node:
        left, right = _flatten(node["left_child"], rows), _flatten(node["right_child"], rows)
        rows[place] = (int(node["split_feature"]), float(node["threshold"]), left, right, 0.0)
    return place


_NOTHING: Any = np.zeros((0, 1))
_NO_TREES = Trees((), _NOTHING, _NOTHING, _NOTHING, _NOTHING, _NOTHING, 0)
