"""Planted fabrications are found, and honest texts pass, without a model. Proves FR-11 and FR-13."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chimera.core.contracts import Artifact, Criterion, Evidence, TaskResult
from chimera.nodes.figures import figures
from chimera.nodes.grounding import check, uncited_claims

POSTS = [
    Evidence(id="posts:150", text="2026-11-01T09:12:00Z AI that writes unit tests", source="posts.jsonl"),
    Evidence(id="posts:179", text="2026-11-02T07:58:00Z [WIP] Another AI release, v2.1", source="posts.jsonl"),
    Evidence(id="posts:44", text="2026-11-02T10:00:00Z Rust 1.90 is out for GPT-4 users", source="posts.jsonl"),
]
ANALYSIS = json.dumps(
    {
        "rows": 180,
        "timeframe": "24h",
        "volume": {"now": 40, "before": 23.33},
        "sha256": "9586a" * 12 + "9999",
        "risers": [
            {
                "term": "AI",
                "now": 12,
                "before": 2.5,
                "growth": 4.8,
                "score": 4.02,
                "evidence": ["posts:150", "posts:179"],
            },
            {"term": "Rust", "now": 7, "before": 41873, "growth": None, "evidence": ["posts:44"]},
        ],
        "evidence": [item.plain() for item in POSTS],
    }
)


def wrong(*documents: str, facts: tuple[str, ...] = (ANALYSIS,)) -> list[str]:
    return list(uncited_claims(documents, POSTS, facts))


HONEST = {
    "a bullet": "- AI rises: 12 posts now, 2.5 before [posts:150]",
    "several cites": "- AI rises: 12 posts [posts:150] [posts:179]",
    "an ordered list": "1. AI rises to 12 [posts:150]\n2) Rust has 7 [posts:44]",
    "a sentence": "AI rises to 12 posts [posts:150].",
    "sentences with a cite each": "AI rises to 12 posts [posts:150]. It had 2.5 before [posts:150].",
    "a cite behind the full stop": "AI rises to 12 posts. [posts:150] It had 2.5 before.[posts:150] Next: more.",
    "an item whose sentences share its last cite": "- AI rises to 12 posts. It had 2.5 before [posts:150].",
    "words that state nothing in a cited line": "AI rises to 12 posts [posts:150]. Why is not known. See below.",
    "abbreviations": "AI, e.g. for Dr. Ada of the U.S. Army approx. 12 posts vs. 2.5, rises at Acme Inc. [posts:150].",
    "decimals": "It grew 4.8 times, from 2.5 to 12 posts [posts:150]. Rust 1.90 is out [posts:44].",
    "a title in quotes": 'The post "Is AI alive? It has 12 users. So what." is what people read [posts:150].',
    "a title in other quotes": "People read “Is AI alive? It has 12 users.” and 'What? Go home.' too [posts:150].",
    "a quoted sentence of its own": 'AI rises [posts:150]. "It has 12 posts. It had 2.5," the feed says [posts:150].',
    "a table": "| term | now |\n|---|---|\n| AI | 12 | [posts:150] |",
    "headings": "# Top 99 of 2031\n\n- AI rises to 12 [posts:150]",
    "prose without numbers": "Here is what rises.\n\n- AI rises to 12 [posts:150]",
    "a line that leads over": "These are the subjects that rise in the feed:\n\n- AI rises to 12 [posts:150]",
    "what is not known": "- AI: 12 [posts:150]\n\nThe feed does not say why the subject of AI rises.",
    "a statement": "The subject of AI is on everybody's mind again [posts:150].",
    "rounded": "- AI grew nearly 5 times, from 2.5 or so; the score is 4 [posts:150]",
    "what is common": "- AI leads with 12 of 40 posts in 180 rows over 24h, about 23.3 before [posts:150]",
    "a date of the evidence": "- On 2026-11-01 AI came up [posts:150]",
    "a time of the evidence": "- It was posted at 09:12 [posts:150]",
    "a unit": "- AI grew 4.8x in 24h [posts:150]",
    "thousands": "- Rust had 41,873 posts [posts:44]\n- Rust had 41.9k posts [posts:44]\n- Rust had 42k [posts:44]",
    "a decimal comma": "- AI: 12 posts, 2,5 before [posts:150]",
    "names with digits": "- GPT-4 users get Rust 1.90 [posts:44]\n- v2.1 of AI [posts:179]",
    "a quoted bracket": "- [WIP] Another AI release [posts:179]",
    "a link": "- [Rust](https://example.com) is out [posts:44]",
    "a list of sources": "- AI: 12 [posts:150]\n\n## Sources\n\n- [posts:150] posts.jsonl: `2026 9:12`\n\nSHA-256: 12",
    "a quotation that claims nothing": "> Made by offline rules, without a model.\n\n- AI: 12 [posts:150]",
    "code": "```\nx\n```\n- AI: 12 [posts:150]",
    "rules": "---\n***\n___\n- AI: 12 [posts:150]",
    "bold": "- **AI**: now 12, before 2.5, growth 4.8, score 4.02 [posts:150] [posts:179]",
}


@pytest.mark.parametrize("kind", HONEST)
def test_honest_texts_pass(kind: str) -> None:
    assert wrong(HONEST[kind]) == []


FABRICATED = {
    "a number that nobody gave": ("- AI rises to 13 posts [posts:150]", "says 13"),
    "a number of other evidence": ("- AI rises to 7 posts [posts:150]", "says 7"),
    "swapped numbers": ("- Rust: 12 now [posts:44]\n- AI: 7 now [posts:150]", "says 12"),
    "a negative number": ("- AI fell by -41 posts [posts:150]", "says 41"),
    "a percentage": ("- AI grew 480% [posts:150]", "says 480"),
    "a multiple": ("- AI grew 9x [posts:150]", "says 9"),
    "thousands of it": ("- AI rises to 12k posts [posts:150]", "says 12k"),
    "millions of it": ("- AI rises to 12 million posts [posts:150]", "says 12 million"),
    "one more decimal": ("- AI: 2.57 before [posts:150]", "says 2.57"),
    "a rank": ("- AI is #1 [posts:150]", "says 1"),
    "a range": ("- AI has 12-99 posts [posts:150]", "says 99"),
    "a ratio": ("- AI leads 5/6 [posts:150]", "says 6"),
    "another day": ("- On 2026-11-09 AI came up [posts:150]", "says 2026-11-09"),
    "a day of other evidence": ("- On 2026-11-02 AI came up [posts:150]", "says 2026-11-02"),
    "another time": ("- It was posted at 09:13 [posts:150]", "says 09:13"),
    "a year": ("- AI will lead until 2031 [posts:150]", "says 2031"),
    "a version": ("- Rust 1.91 is out [posts:44]", "says 1.91"),
    "digits of a digest": ("- AI has 9586 posts [posts:150]", "says 9586"),
    "digits of another script": ("- AI has ٩٩ posts [posts:150]", "says ٩٩"),
    "a number in bold": ("- **13** posts on AI [posts:150]", "says 13"),
    "a number in code": ("- `13` posts on AI [posts:150]", "says 13"),
    "an unknown cite": ("- AI rises to 12 posts [posts:151]", "cites posts:151"),
    "a known and an unknown cite": ("- AI rises to 12 [posts:150] [posts:999]", "cites posts:999"),
    "a footnote": ("- AI rises to 12 [1]", "cites 1"),
    "a cite of another kind": ("- AI rises to 12 [source]", "cites source"),
    "no cite": ("- AI rises to 12 posts", "has no citation"),
    "a bullet without a number": ("- AI rises\n- Rust too [posts:44]", "has no citation: AI rises"),
    "a cite in the line before": ("See [posts:150].\n- AI rises to 12 posts", "has no citation"),
    "a cite in the line after": ("- AI rises to 12 posts\n  [posts:150]", "has no citation"),
    "a cite in the heading": ("## AI [posts:150]\n- AI rises to 12 posts", "has no citation"),
    "a sentence without one": ("AI rises to 12 posts.\n\nMore: [posts:150]", "has no citation"),
    "a statement": ("- AI: 12 [posts:150]\n\nThe head of the project has left after a quarrel.", "has no citation"),
    "a statement that rides on another's cite": (
        "AI rises to 12 posts [posts:150]. Its maker says that it comes from the moon.",
        "has no citation: Its maker",
    ),
    "a statement in front of a cited one": (
        "Its maker says that it comes from the moon. AI rises to 12 posts [posts:150].",
        "has no citation: Its maker",
    ),
    "a number that rides on another's cite": (
        "It grew 4.8 times. AI rises to 12 [posts:150].",
        "has no citation: It grew",
    ),
    "a statement behind a cite behind a full stop": (
        "AI rises to 12 posts. [posts:150] Its maker says that it comes from the moon.",
        "has no citation: Its maker",
    ),
    "a statement without a capital": (
        "AI rises to 12 posts [posts:150]. its maker says that it comes from the moon.",
        "has no citation: its maker",
    ),
    "a statement after a semicolon": (
        "AI rises to 12 posts [posts:150]; its maker says that it comes from the moon.",
        "has no citation: its maker",
    ),
    "a statement with the cite in place of a full stop": (
        "AI rises to 12 posts [posts:150] The maker says that it comes from the moon.",
        "has no citation: The maker",
    ),
    "a statement after an abbreviation": (
        "AI rises to 12 posts at Acme Inc. The maker says that it comes from the moon [posts:150].",
        "has no citation: AI rises",
    ),
    "a statement after a quoted question": (
        'AI rises to 12 posts [posts:150] with "Is it alive?" Its maker says that it comes from the moon.',
        "has no citation: Its maker",
    ),
    "a statement inside quotes with a cite": (
        '"AI rises to 12 posts [posts:150]. Its maker says that it comes from the moon."',
        "has no citation: Its maker",
    ),
    "a statement behind the last cite of an item": (
        "- AI rises to 12 posts [posts:150]. Its maker says that it comes from the moon.",
        "has no citation: Its maker",
    ),
    "a statement with a quoted bracket behind the last cite of an item": (
        "- AI rises to 12 posts [posts:150]. Its maker says [WIP] that it comes from the moon.",
        "has no citation: Its maker",
    ),
    "a quotation": ("> The market grew to 400.\n\n- AI: 12 [posts:150]", "has no citation"),
    "a bullet in a quotation": ("> - AI: 400\n\n- AI: 12 [posts:150]", "has no citation"),
    "a table row": ("| AI | 13 | [posts:150] |", "says 13"),
    "a table row without a cite": ("| AI | 12 |\n\n- AI: 12 [posts:150]", "has no citation"),
    "behind the sources": (
        "- AI: 12 [posts:150]\n\n## Sources\n\n- [posts:150]\n\n## More\n\n- AI: 13",
        "has no citation",
    ),
    "an unknown source": ("- AI: 12 [posts:150]\n\n## Sources\n\n- [posts:999] somewhere", "cites posts:999"),
    "sources first": ("## Sources\n\n## Findings\n\n- AI rises to 13 [posts:150]", "says 13"),
    "a quoted bracket as cite": ("- Another AI release has 12 users [WIP]", "has no citation"),
    "a link as cite": ("- AI rises to 12 [posts:150](https://evil.example)", "has no citation"),
    "nothing at all": ("AI rises.", "nothing is cited"),
    "an empty text": ("", "nothing is cited"),
}


@pytest.mark.parametrize("kind", FABRICATED)
def test_planted_fabrications_are_found(kind: str) -> None:
    text, complaint = FABRICATED[kind]
    found = wrong(text)
    assert any(complaint in line for line in found), found


def test_every_document_is_looked_at() -> None:
    assert wrong("- AI: 12 [posts:150]", "# Briefing\n\n- AI: 13 [posts:150]") != []


def test_the_text_of_a_tool_without_records_holds_its_numbers_for_all() -> None:
    plain = "The page says 77 and 78."
    assert wrong("- It is 77 [posts:150]", facts=(plain,)) == []
    assert wrong("- It is 79 [posts:150]", facts=(plain,)) != []


def test_without_evidence_nothing_is_grounded() -> None:
    assert list(uncited_claims(["- AI: 12 [posts:150]"], [], [ANALYSIS])) != []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("12 and 2.5, 1,234.5 (7)", ["12", "2.5", "1,234.5", "7"]),
        ("2026-11-01T09:12:00Z", ["2026-11-01", "09:12:00"]),
        ("24h 7d 3x 40% 5th 100ms 2pm", ["24", "7", "3", "40", "5", "100", "2"]),
        ("42k 1.5M 3 million", ["42k", "1.5M", "3 million"]),
        ("v2 GPT-4 Q3 sha256 abc123 utf-8 0f343b09", []),
        ("1e5 1.5e-3", ["1e5", "1.5e-3"]),
        ("5-10 5/10 #5 -5 ~5 $5 =5", ["5", "10", "5", "10", "5", "5", "5", "5", "5"]),
        ("1.2.3", ["1.2.3"]),
        ("", []),
    ],
)
def test_what_counts_as_a_number(text: str, said: list[str]) -> None:
    assert [figure.said for figure in figures(text)] == said


# --- properties -----------------------------------------------------------------------------------------------------

NUMBERS = st.one_of(st.integers(0, 10**9), st.floats(0, 10**6, allow_nan=False).map(lambda value: round(value, 2)))
TERMS = st.text("abcdefghijklmnopqrstuvwxyz", min_size=1, max_size=12)


@st.composite
def materials(draw: st.DrawFn) -> tuple[list[Evidence], str, list[tuple[str, str, list[Any]]]]:
    """Evidence, a tool result about it, and its records as (term, id, numbers)."""
    terms = draw(st.lists(TERMS, min_size=2, max_size=5, unique=True))
    records = [
        (term, f"feed:{place}", draw(st.lists(NUMBERS, min_size=1, max_size=3))) for place, term in enumerate(terms)
    ]
    evidence = [Evidence(id=cite, text=f"a post on {term}", source="feed") for term, cite, _ in records]
    listed = [
        {"term": term, "evidence": [cite], **{f"n{i}": n for i, n in enumerate(ns)}} for term, cite, ns in records
    ]
    return evidence, json.dumps({"records": listed, "evidence": [item.plain() for item in evidence]}), records


def bullet(term: str, cite: str, numbers: list[Any]) -> str:
    return f"- **{term}**: {', '.join(map(str, numbers))} [{cite}]"


@given(materials())
def test_what_is_copied_passes(material: Any) -> None:
    evidence, fact, records = material
    text = "\n".join(bullet(*record) for record in records)
    assert list(uncited_claims([text], evidence, [fact])) == []


@given(materials(), st.integers(2 * 10**9, 10**12), st.data())
def test_a_number_that_is_put_in_is_found(material: Any, number: int, data: st.DataObject) -> None:
    evidence, fact, records = material
    place = data.draw(st.integers(0, len(records) - 1))
    term, cite, numbers = records[place]
    lines = [bullet(*record) for record in records]
    lines[place] = bullet(term, cite, [*numbers, number])
    assert [line for line in uncited_claims(["\n".join(lines)], evidence, [fact]) if f"says {number}" in line]


@given(materials(), st.data())
def test_a_cite_that_is_lost_or_made_up_is_found(material: Any, data: st.DataObject) -> None:
    evidence, fact, records = material
    place = data.draw(st.integers(0, len(records) - 1))
    lines = [bullet(*record) for record in records]
    lost, made_up = list(lines), list(lines)
    lost[place] = lines[place].replace(f" [feed:{place}]", "")
    made_up[place] = lines[place].replace(f"[feed:{place}]", "[feed:99]")
    assert any("has no citation" in line for line in uncited_claims(["\n".join(lost)], evidence, [fact]))
    assert any("cites feed:99" in line for line in uncited_claims(["\n".join(made_up)], evidence, [fact]))


@given(st.text(max_size=300), st.text(max_size=300))
def test_any_text_is_judged_without_an_accident(text: str, fact: str) -> None:
    list(uncited_claims([text], [Evidence(id="a", text=fact[:4_000], source="s")], [fact]))


# --- the other criteria ---------------------------------------------------------------------------------------------

RESULT = TaskResult(
    task_id="t1",
    status="done",
    answer='{"n": 5}',
    artifacts=[Artifact(name="a.md", size=1, sha256="0" * 64)],
    context_version="v",
)


def passes(kind: Any, value: str = "", result: TaskResult = RESULT, documents: tuple[str, ...] | None = None) -> bool:
    found = check(Criterion(kind=kind, value=value), result, documents or (result.answer,), POSTS, [ANALYSIS])
    assert found.passed == (not found.why), "a failed check says why"
    assert found.criterion.startswith(kind)
    return found.passed


def answering(text: str) -> TaskResult:
    return RESULT.model_copy(update={"answer": text, "artifacts": []})


def test_nonempty() -> None:
    assert passes("nonempty")
    assert passes("nonempty", result=RESULT.model_copy(update={"answer": ""})), "an artifact is an answer"
    assert not passes("nonempty", result=answering(" \n"))


def test_artifact() -> None:
    assert passes("artifact")
    assert passes("artifact", "a.md")
    assert not passes("artifact", "b.md")
    assert not passes("artifact", result=answering("x"))


def test_contains() -> None:
    assert passes("contains", "SOURCES", documents=("see the sources",))
    assert not passes("contains", "sources", documents=("see above",))


def test_cited() -> None:
    assert passes("cited", documents=("- AI: 12 [posts:150]",))
    assert not passes("cited", documents=("- AI: 13 [posts:150]",))


@pytest.mark.parametrize(
    ("schema", "answer", "fits"),
    [
        ('{"type": "object", "required": ["n"]}', '{"n": 5}', True),
        ('{"type": "object", "required": ["m"]}', '{"n": 5}', False),
        ('{"properties": {"n": {"pattern": "^[a-z]+$"}}}', '{"n": "abc\\n"}', False),
        ('{"properties": {"n": {"pattern": "^(a|aa)+$"}}}', json.dumps({"n": "a" * 5_000 + "!"}), False),
        ('{"$ref": "http://127.0.0.1:9/schema"}', "{}", False),
        ("not json", "{}", False),
        ("[]", "{}", False),
        ('{"type": 5}', "{}", False),
        ("{}", "not json", False),
        ("{}", "", False),
    ],
)
def test_schema(schema: str, answer: str, fits: bool) -> None:
    """The schema comes from a planner, so it may be anything."""
    assert passes("schema", schema, answering(answer)) is fits


# --- long inputs ----------------------------------------------------------------------------------------------------


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "unit",
    [
        " ",
        "a",
        "1",
        "1,",
        "1.",
        "1:",
        "-",
        "|",
        "| ",
        "#",
        ">",
        "[",
        "[a] ",
        "[1]",
        "* ",
        "1) ",
        "a. A",
        "1 ",
        "\n",
        "- 1\n",
        ". ",
        "٩",
        "12k ",
        "2026-11-01 ",
    ],
)
def test_long_texts_of_anything_end(unit: str) -> None:
    long = unit * (200_000 // len(unit))
    for text in (long, long + "!"):
        list(uncited_claims([text], [Evidence(id="a", text=long[:4_000], source="s")], [long]))


@pytest.mark.timeout(60)
def test_a_megabyte_of_numbers_against_a_megabyte_of_others_ends() -> None:
    claims = "\n".join(f"- {number}.{number % 97} [a]" for number in range(40_000))
    facts = json.dumps(
        {"records": [{"n": number * 3.7, "evidence": ["a"]} for number in range(30_000)], "evidence": []}
    )
    assert list(
        uncited_claims([claims], [Evidence(id="a", text="x", source="s")], [facts, claims[:500_000].replace("1", "2")])
    )
