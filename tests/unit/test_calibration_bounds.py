"""What a certificate promises holds where the truth is known, and where there is nothing to certify there is none."""

import numpy as np
import pytest

from chimera.bench.review.certified import of_panel
from chimera.bench.review.panel import Panel
from chimera.review.calibration.bounds import by_cluster, clustered_upper, exact_upper
from chimera.review.calibration.certify import Labels, certify, needed, thresholds


def test_the_exact_bound_is_that_of_clopper_and_pearson() -> None:
    """Known values: no error in 29 and in 59 labels, and the rule of three. Proves FR-700."""
    assert float(exact_upper(0, 29)) <= 0.10 < float(exact_upper(0, 28))
    assert float(exact_upper(0, 59)) <= 0.05 < float(exact_upper(0, 58))
    assert float(exact_upper(5, 5)) == float(exact_upper(0, 0)) == 1.0
    assert float(exact_upper(10, 100)) == pytest.approx(0.1637, abs=2e-4)


def test_items_of_one_cluster_are_fewer_witnesses() -> None:
    """The same errors, spread evenly and all in one mission: the second says less. Proves FR-700."""
    counts = np.full((40, 1), 20)
    even, lumped = np.full((40, 1), 1), np.zeros((40, 1), dtype=np.int64)
    lumped[:4] = 10
    bounds = [float(clustered_upper(errors, counts)[0]) for errors in (even, lumped)]
    assert float(exact_upper(40, 800)) <= bounds[0] < bounds[1]
    # No error at all in 20 missions is what 20 items would say, however many items each has.
    clean = clustered_upper(np.zeros((20, 1), dtype=np.int64), np.full((20, 1), 500))
    assert float(clean[0]) == pytest.approx(1 - 0.045 ** (1 / 20), abs=1e-6)
    assert clustered_upper(np.zeros((9, 1), dtype=np.int64), np.full((9, 1), 500))[0] == 1.0


def test_errors_are_counted_from_the_safest_threshold_down() -> None:
    errors, counts = by_cluster(
        np.array([0.9, 0.5, 0.7]), np.array([True, False, True]), ["a", "b", "a"], np.array([0.8, 0.7, 0.1])
    )
    assert errors.tolist() == [[1, 2, 2], [0, 0, 0]]
    assert counts.tolist() == [[1, 2, 2], [0, 0, 1]]


def test_a_machine_that_says_nothing_gets_no_certificate() -> None:
    """A confidence that has nothing to do with the truth; and too few labels. Proves FR-701."""
    rng = np.random.default_rng(3)
    scores, wrong = rng.random(2_000), rng.random(2_000) < 0.3
    found = certify(Labels(scores, wrong, list(range(2_000))), rng.random(5_000))
    assert found.threshold is None
    assert "more than 0.1" in found.why
    few = certify(Labels(scores[:50], wrong[:50] & False, list(range(50))), rng.random(5_000))
    assert few.threshold is None
    assert few.why.startswith("50 labels; at least 90")


def test_thresholds_come_from_the_traffic_and_fall() -> None:
    """Proves FR-701: where to look is fixed before the labels that are tested."""
    tried = thresholds(np.linspace(0, 1, 1_001), 2_000, 0.10, 0.01)
    assert np.all(np.diff(tried) <= 0)
    assert tried[0] == pytest.approx(1 - needed(0.10, 2_000) / 2_000, abs=1e-3)
    assert needed(0.10, 50) > 50


@pytest.mark.parametrize(
    ("panel", "least"),
    [
        (Panel("independent", 0.0, 2_000, 1), 0.80),
        (Panel("clusters", 1.0, 40, 50), 0.45),
    ],
    ids=["independent", "clustered"],
)
def test_the_promise_is_kept_and_worth_something(panel: Panel, least: float) -> None:
    """Fewer than one in twenty draws break it, by the known truth, with the chance of 60 draws allowed for.

    Proves FR-700 and FR-702.
    """
    found = of_panel(panel, 60, 11)
    assert found["violation_share"] <= 0.10, found
    assert least <= found["oracle_share"] <= found["reachable_share"] + 0.03


def test_a_bound_that_takes_clusters_for_independent_breaks_the_promise() -> None:
    """The same draws, each item counted as a witness of its own: that is what the clustered bound is for."""
    panel, rng = Panel("clusters", 1.0, 40, 50), np.random.default_rng(5)
    limit, _ = panel.oracle(0.10)
    broken = 0
    for _ in range(100):
        stated, wrong, _ = panel.draw(rng)
        found = certify(Labels(stated, wrong, list(range(2_000))), panel.traffic(rng, 5_000))
        broken += found.threshold is not None and found.threshold < limit
    assert broken > 8


def test_the_truth_of_a_panel_is_what_a_large_sample_shows() -> None:
    panel, rng = Panel("clusters", 1.0, 40_000, 10), np.random.default_rng(1)
    stated, wrong, _ = panel.draw(rng)
    limit, share = panel.oracle(0.10)
    above = stated >= limit
    assert above.mean() == pytest.approx(share, abs=0.005)
    assert wrong[above].mean() == pytest.approx(0.10, abs=0.003)
