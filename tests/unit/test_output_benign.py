"""The filter leaves honest texts as they are: our own pages, the feeds of the golden missions, a briefing made of them.

Proves FR-111: a false alarm is a failure.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from chimera.core.contracts import Mission
from chimera.evals.cases import load_cases
from chimera.guards.output.canaries import CanaryText
from chimera.guards.output.channels import HiddenChannels
from chimera.guards.output.honesty import HonestIdentity
from chimera.guards.output.pii import PersonalData
from chimera.guards.output.promptleak import PromptLeak
from chimera.guards.output.secrets import SecretText
from chimera.guards.output.textguard import TextGuard
from chimera.guards.output.unsafe import UnsafeContent
from chimera.guards.request import Edge, GuardRequest
from chimera.nodes.prompts import prompt

ROOT = Path(__file__).resolve().parents[2]
FEEDS = ROOT / "chimera" / "evals" / "golden" / "feeds"
SAMPLE = ROOT / "chimera" / "cli" / "sample" / "trending_sample.jsonl"
PROMPTS = [prompt(role) for role in ("judge", "orchestrator", "planner", "worker")]
GUARDS: Sequence[TextGuard] = (
    CanaryText(),
    PromptLeak(PROMPTS),
    SecretText(),
    PersonalData(regions=["US", "DE", "GB", "FR"]),
    HiddenChannels(),
    UnsafeContent(),
    HonestIdentity(),
)
PAGES = sorted(
    [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("specs/*.md"), *ROOT.glob("chimera/evals/**/*.md")]
)


def briefing(feed: Path, rows: Sequence[str]) -> str:
    """What the offline rules write about a feed: bullets with citations, and the sources."""
    ids = [f"{feed.stem}:{number}" for number in range(len(rows))]
    bullets = "\n".join(
        f"- **{one.split(':')[0]}**: now 16, before 1.5, growth 10.67, score 6.99 [{one}]" for one in ids
    )
    sources = "\n".join(f"- [{one}] {feed}: `{row}`" for one, row in zip(ids, rows, strict=True))
    return f"# What is rising\n\n{bullets}\n\n## Sources\n\n{sources}\n\nSHA-256 of {feed} as read: {'0af1' * 16}\n"


def feeds() -> Iterator[Path]:
    yield SAMPLE
    yield from sorted(path for path in FEEDS.iterdir() if path.stem != "hostile")


@pytest.mark.parametrize("guard", GUARDS, ids=lambda guard: guard.rule)
async def test_our_own_pages_pass(guard: TextGuard) -> None:
    assert len(PAGES) > 8
    for page in PAGES:
        request = GuardRequest(edge=Edge.OUTPUT, payload={"answer": page.read_text("utf-8")})
        assert await guard.check(request) is None, page


@pytest.mark.parametrize("guard", GUARDS, ids=lambda guard: guard.rule)
async def test_briefings_from_the_golden_feeds_pass(guard: TextGuard) -> None:
    for feed in feeds():
        text = briefing(feed, feed.read_text("utf-8", "replace").splitlines())
        mission = Mission(
            goal="Find what is rising and write a short briefing with sources", inputs={"feed": str(feed)}
        )
        request = GuardRequest(
            edge=Edge.OUTPUT, payload={"answer": text}, mission=mission, notes={"sources": [str(feed)]}
        )
        assert await guard.check(request) is None, feed


@pytest.mark.parametrize("guard", GUARDS, ids=lambda guard: guard.rule)
async def test_what_the_golden_missions_expect_passes(guard: TextGuard) -> None:
    for case in load_cases():
        expected = json.dumps(case.expect.model_dump(mode="json"), ensure_ascii=False)
        request = GuardRequest(edge=Edge.OUTPUT, payload={"answer": f"{case.goal}\n{expected}"})
        assert await guard.check(request) is None, case.id
