"""Claims about politics, health, money and law are recognised, and everyday words are not taken for them."""

import pytest

from chimera.evals.topics import measure_topics
from chimera.review.calibration.topics import topic_of


def test_golden_lines_are_recognised() -> None:
    """Proves FR-44 and FR-708."""
    found = measure_topics()
    assert found.missed == [], found.figures
    assert found.figures["cases"] >= 30


@pytest.mark.parametrize(
    ("text", "topic"),
    [
        ("VACCINES are safe", "health"),
        ("the vaccine\nand the dosage, and a lawsuit", "health"),
        ("a court", "general"),
        ("a court and a lawyer", "law"),
        ("a court and another court", "general"),
        ("", "general"),
    ],
)
def test_one_strong_expression_or_two_weak_ones(text: str, topic: str) -> None:
    assert topic_of(text) == topic
