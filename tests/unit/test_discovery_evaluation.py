"""The evaluation of tool search works on any folder of its format, and says what it could not measure.

Proves FR-334.
"""

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import chimera.bench.mesh.search as mesh_search
from chimera.core.errors import ExtraMissing, InputError
from chimera.evals.discovery import figures
from chimera.evals.discovery.baselines import FieldedBm25, mixed
from chimera.evals.discovery.data import load_set, load_sets
from chimera.evals.discovery.figures import evaluate_discovery
from chimera.evals.discovery.held_out import held_out_rankings
from chimera.evals.discovery.learning import trees_of
from chimera.evals.discovery.quality import ndcg10, recall5
from chimera.evals.discovery.run import main_discovery
from chimera.tools.discovery.documents import ToolDocument
from chimera.tools.discovery.local_model import LocalEmbeddings
from chimera.tools.discovery.ranking import shipped_ranking

THINGS = ["weather", "stock", "recipe", "flight", "translation", "song", "parcel", "holiday", "currency", "museum"]


def written(folder: Path) -> Path:
    folder.mkdir()
    tools = [
        {
            "id": f"{what}::{do}",
            "server": what,
            "name": f"{do}_{what}",
            "description": f"{do.title()} the {what}s of a city",
        }
        for what in THINGS
        for do in ("list", "find")
    ]
    tools[0]["schema"] = {"properties": {"city": {"description": "Where"}}}  # pyright: ignore[reportArgumentType]
    queries = [{"query": f"Please find a {what} in Oslo", "relevant": [f"{what}::find"]} for what in THINGS]
    (folder / "tools.jsonl").write_text("\n".join(map(json.dumps, tools)), "utf-8")
    (folder / "queries.jsonl").write_text(
        "\n".join(map(json.dumps, [*queries, {"query": "x", "relevant": ["no"]}])), "utf-8"
    )
    return folder


def absent(threads: int = 1) -> LocalEmbeddings:
    raise ExtraMissing("the local model is not installed", remedy="Install it.")


class Bag:
    """A dense model that sees letters."""

    def encode(self, texts: list[str]) -> Any:
        rows = np.array(
            [[text.lower().count(letter) for letter in "abcdefghijklmnopqrstuvwxyz"] for text in texts], float
        )
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def bag(threads: int) -> Bag:
    return Bag()


def test_gain_and_recall_are_what_they_are_defined_as() -> None:
    assert ndcg10([3, 1, 2], {3}) == 1.0
    assert ndcg10([1, 3], {3}) == pytest.approx(1 / np.log2(3))
    assert ndcg10([1, 2], {3}) == 0.0
    assert ndcg10([5, 6], {5, 6}) == 1.0
    assert recall5([1, 2, 3, 4, 5, 6], {5, 6}) == 0.5


def test_the_baselines_are_bm25_and_its_convex_mix() -> None:
    documents = [
        ToolDocument("a", "s", "read_file", "Read a file."),
        ToolDocument("b", "s", "write_file", "Write a file."),
        ToolDocument("c", "t", "send_mail", "Send a mail."),
    ]
    scores = FieldedBm25(documents).scores("write to a file")
    assert scores.argmax() == 1
    assert scores[2] == 0
    assert mixed(np.array([0.0, 2.0]), np.array([0.5, -0.5])).tolist() == pytest.approx([0.6, 0.4])


def test_without_the_dense_model_the_mix_is_told_as_absent_and_its_goals_are_missed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(figures, "LocalEmbeddings", absent)
    measured = evaluate_discovery([written(tmp_path / "some")], quick=False)
    assert "ndcg10_mix" not in measured.figures
    assert {"ndcg10_over_mix", "recall5_over_mix"} <= set(measured.missed)
    assert "absent" in measured.conditions["dense_model"]
    assert measured.figures["queries"] == len(THINGS), "a request whose tools are not there is left out"
    assert measured.figures["recall5"] == 1.0
    assert measured.conditions["sets"]["some"]["weights"] == "as shipped"
    assert "loso_ndcg10" not in measured.figures


def test_with_a_dense_model_all_figures_are_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(figures, "LocalEmbeddings", bag)
    folder = written(tmp_path / "some")
    ranking = shipped_ranking()
    monkeypatch.setattr(figures, "held_out_rankings", lambda: {load_set(folder, 5).digest: ranking})
    code = main_discovery([folder], quick=True, as_json=True)
    told = json.loads(capsys.readouterr().out)
    assert {"ndcg10", "recall5", "ndcg10_bm25", "ndcg10_mix", "recall5_bm25", "recall5_mix", "loso_ndcg10"} <= set(
        told["figures"]
    )
    assert told["conditions"]["sets"]["some"]["weights"] == "learnt without this set"
    assert code == (0 if told["pass"] else 1)


def test_a_folder_that_is_no_set_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="cannot read"):
        load_set(tmp_path, 5)
    (tmp_path / "tools.jsonl").write_text('{"id": "a"}', "utf-8")
    (tmp_path / "queries.jsonl").write_text('{"query": "a"}', "utf-8")
    with pytest.raises(InputError, match="not a set"):
        load_set(tmp_path, 5)
    monkeypatch.delenv("CHIMERA_DATA", raising=False)
    with pytest.raises(InputError, match="no sets"):
        load_sets([], quick=True)


def test_trees_become_arrays_that_say_the_same() -> None:
    leaf = [{"leaf_value": value} for value in (1.0, 2.0, 4.0)]
    inner = {"split_feature": 1, "threshold": 0.5, "left_child": leaf[1], "right_child": leaf[2]}
    tree = {"tree_structure": {"split_feature": 0, "threshold": 0.0, "left_child": leaf[0], "right_child": inner}}
    stump = {"tree_structure": {"leaf_value": 0.5}}
    trees = replace(trees_of([tree, stump], ("x", "y")), depth=2)
    figures_of = {"x": np.array([-1.0, 1.0, 1.0]), "y": np.array([0.0, 0.5, 0.6])}
    assert trees.predict(figures_of).tolist() == [1.5, 2.5, 4.5]


def test_the_weights_that_ship_can_be_read_and_name_known_features() -> None:
    rankings = [shipped_ranking(), *held_out_rankings().values()]
    assert len(rankings) == 6, "all sets, and without each of five"
    for ranking in rankings:
        assert "dense" not in ranking.lexical.names
        assert "dense" in ranking.dense.names
        assert all(0 < weight <= 1 for weight in ranking.request_words.values())


@pytest.mark.skipif(not os.environ.get("CHIMERA_DATA"), reason="CHIMERA_DATA names no folder with data")
def test_the_cost_of_a_search_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mesh_search, "SMALL", 40)
    monkeypatch.setattr(mesh_search, "QUICK_LARGE", 80)
    found = mesh_search.measure_search(quick=True)
    assert set(found) >= {"search_tools", "search_p95_ms_500", "search_p95_ms_40k", "index_40k_s", "update_server_s"}
    parts = mesh_search.catalogue_tools()
    made = mesh_search.made_tools(parts, 50)
    assert made == mesh_search.made_tools(parts, 50)
    assert len({tool.name for tool in made}) == 50
