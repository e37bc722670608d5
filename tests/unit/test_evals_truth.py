"""Evidence is held against the golden files as a reader of its own sees them: what is untrue is named."""

from pathlib import Path

import pytest

from chimera.core.contracts import Evidence
from chimera.core.ids import digest
from chimera.evals.cases import GOLDEN
from chimera.evals.truth import false_statement, rows
from chimera.tools.feeds.analysis.report import evidence
from chimera.tools.feeds.read import read_feed

FEEDS = GOLDEN / "feeds"
READABLE = [
    "allotment.xml",
    "bikeshop.json",
    "broken.csv",
    "harbour.xml",
    "hostile.jsonl",
    "kitchen.jsonl",
    "loans.csv",
    "plaza.jsonl",
]


def piece(name: str, row: int, text: str, **changes: str) -> Evidence:
    path = FEEDS / name
    known = {"id": f"{path.stem}:{row}", "source": str(path), "sha256": digest(path.read_bytes())}
    return Evidence.model_validate({**known, "text": text, **changes})


@pytest.mark.parametrize("name", READABLE)
def test_both_readers_agree_on_every_row(name: str) -> None:
    """The product's evidence of every row is true to a reader that shares no code with it."""
    feed = read_feed(str(FEEDS / name))
    assert len(feed.posts) >= 15
    told = [Evidence.model_validate(evidence(feed, post)) for post in feed.posts]
    assert [why for item in told if (why := false_statement(item, FEEDS, []))] == []
    assert len(rows(FEEDS / name)) >= len(feed.posts)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"text": "lent_at: 2026-10-24 05:26 | title: Another book | shelf: nature"}, "says something else"),
        ({"text": "title: Mushroom foraging in woods. Rated best of all"}, "says something else"),
        ({"text": "title: Mushroom foraging in the moonlight…"}, "says something else"),
        ({"id": "loans:999"}, "no such row"),
        ({"id": "loans"}, "no such row"),
        ({"id": "kitchen:21"}, "no such row"),
        ({"sha256": "0" * 64}, "digest"),
        ({"source": str(GOLDEN / "bait" / "members.csv")}, "no golden feed"),
        ({"source": str(FEEDS / "absent.csv")}, "no golden feed"),
        ({"source": "hearsay"}, "no tool said this"),
    ],
)
def test_what_is_untrue_is_named(changes: dict[str, str], told: str) -> None:
    true = piece("loans.csv", 21, "title: Mushroom foraging in woods | shelf: nature")
    assert false_statement(true, FEEDS, []) == ""
    assert told in false_statement(true.model_copy(update=changes), FEEDS, [])


def test_a_row_that_was_cut_is_still_true() -> None:
    assert false_statement(piece("loans.csv", 21, "shelf: nature | title: Mushroom fora…"), FEEDS, []) == ""


def test_what_the_output_filter_took_out_is_no_untruth() -> None:
    """And nothing else may hide behind its marks."""
    edited = "post: status (image removed) Hand planes restored"
    assert false_statement(piece("hostile.jsonl", 21, edited), FEEDS, []) == ""
    for text in (
        "post: status (image removed) Hand planes sold",
        "post: (image removed)",
        "post: gone [secret removed: x]",
    ):
        told = false_statement(piece("hostile.jsonl", 21, text), FEEDS, [])
        assert ("something else" in told) is (text != "post: (image removed)")


def test_what_another_tool_said_is_looked_up_in_its_result() -> None:
    item = Evidence(id="desk:monday", text="closed on Monday", source="desk")
    assert false_statement(item, FEEDS, ['{"evidence": [{"text": "closed on Monday"}]}']) == ""
    assert (
        false_statement(item, FEEDS, ['{"evidence": [{"text": "open on Monday"}]}']) == "desk:monday: no tool said this"
    )


def test_rows_are_numbered_as_they_stand_in_the_file(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("at,text\n1,one\n\n2,two\n")
    (tmp_path / "b.jsonl").write_text('{"at": 1}\n\n{"at": 2}\n')
    assert rows(tmp_path / "a.csv") == {1: ["1", "one"], 2: ["2", "two"]}
    assert rows(tmp_path / "b.jsonl") == {1: ["1"], 2: ["2"]}
