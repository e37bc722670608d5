"""The judge: planted bad results fail, whatever their worker or a model says of them. Proves FR-13 and FR-14."""

import json
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from langchain_core.messages import AIMessage, BaseMessage
from langgraph.runtime import Runtime

from chimera.core.clock import SystemClock
from chimera.core.contracts import (
    Artifact,
    Budget,
    Check,
    Criterion,
    Evidence,
    Mission,
    Task,
    TaskResult,
    Usage,
    Verdict,
)
from chimera.core.errors import ModelFailed
from chimera.core.ids import seeded_ids
from chimera.core.settings import Settings
from chimera.core.spotlight import read
from chimera.core.state import TeamState
from chimera.models.calls import Models
from chimera.models.gate import Caller, Sent
from chimera.models.scripted import ScriptedModel
from chimera.nodes.context import Context
from chimera.nodes.judge import GROUNDED, Judge, JudgeRequest, judge, verdict_of
from chimera.review.calibration.bands import Alarm, Bands
from chimera.review.calibration.store import CalibrationStore, Certificate, Judgement
from chimera.tools.artifacts import ArtifactStore

POST = Evidence(id="posts:1", text="AI: 12 posts", source="posts.csv")
GOOD = "- AI has 12 posts [posts:1]"


class Meter:
    """Counts nothing: budgets are tested elsewhere."""

    async def add(self, call_id: str, mission_id: str, role: str, model: str, usage: Usage) -> None:
        return None

    async def total(self, mission_id: str) -> Usage:
        return Usage()


class Open:
    """A gate that everything passes: what guards say of requests is tested elsewhere."""

    async def passed(self, caller: Caller, sent: Sent) -> Sent:
        return sent


class Bench:
    """A judge with a model that gives an opinion, and what the model was shown."""

    def __init__(self, *checks: dict[str, Any], confidence: float = 0.95, model: Any = None, **settings: Any) -> None:
        self.shown: list[dict[str, Any]] = []

        def speak(messages: Sequence[BaseMessage], _: Sequence[str]) -> AIMessage:
            self.shown.append(read(messages[1].content))
            args = {"checks": list(checks), "confidence": confidence}
            return AIMessage("", tool_calls=[{"name": "Opinion", "args": args, "id": "1", "type": "tool_call"}])

        self.settings = Settings.model_validate({"model_retries": 0, **settings})
        given = {"*": model or ScriptedModel(script=[speak])}
        models = Models(self.settings, Meter(), seeded_ids(1), given, gate=Open())

        def caller(mission_id: str, role: str, mission: Any, **_: Any) -> Caller:
            return Caller(mission_id, role, Budget())

        self.context = cast(
            "Context", SimpleNamespace(models=models, caller=caller, settings=self.settings, new_id=seeded_ids(2))
        )

    async def judge(self, *criteria: tuple[str, str], **changes: Any) -> Verdict:
        listed = [Criterion.model_validate({"kind": kind, "value": value}) for kind, value in criteria]
        return await Judge().judge(request(listed, **changes), self.context)


def request(criteria: list[Criterion], *, answer: str = GOOD, goal: str = "g", **changes: Any) -> JudgeRequest:
    result = TaskResult(task_id="t1", status="done", answer=answer, evidence=[POST], context_version="v")
    return JudgeRequest(
        mission_id="m",
        mission=Mission(goal=goal, constraints=["at most 300 words"]).plain(),
        task=Task(id="t1", title="t", instruction="Find what rises", criteria=criteria, confidence=0.123),
        result=result.model_copy(update=changes),
        documents=[answer],
        evidence=[POST],
        facts=["AI: 12 posts"],
    )


# --- by rule ---------------------------------------------------------------------------------------------------------

BAD = {
    "an empty answer": ("", [("nonempty", "")]),
    "a made-up number": ("- AI has 13 posts [posts:1]", [("cited", "")]),
    "a made-up source": ("- AI has 12 posts [posts:2]", [("cited", "")]),
    "a claim without a source": ("- AI is huge", [("cited", "")]),
    "a missing artifact": (GOOD, [("artifact", "")]),
    "another artifact": (GOOD, [("artifact", "briefing.md")]),
    "a missing word": (GOOD, [("contains", "Rust")]),
    "another form": ("{}", [("schema", '{"required": ["n"]}')]),
    "one bad thing among good ones": (
        "- AI has 13 posts [posts:1]",
        [("nonempty", ""), ("contains", "AI"), ("cited", "")],
    ),
}


@pytest.mark.parametrize("kind", BAD)
async def test_a_planted_bad_result_is_sent_back_with_reasons(kind: str) -> None:
    answer, criteria = BAD[kind]
    bench = Bench(confidence=1.0)
    verdict = await bench.judge(*criteria, answer=answer)
    assert verdict.outcome == "retry"
    assert verdict.reasons
    assert all(verdict.reasons), "a worker is told what to do better"
    assert any(not check.passed for check in verdict.checks)
    assert bench.shown == [], "no model is asked about what a rule has settled"


async def test_a_good_result_passes_by_rule_without_a_model() -> None:
    bench = Bench()
    verdict = await bench.judge(("nonempty", ""), ("cited", ""), ("contains", "ai"))
    assert (verdict.outcome, verdict.confidence) == ("approve", GROUNDED)
    assert [check.passed for check in verdict.checks] == [True] * 3
    assert bench.shown == []


async def test_a_model_cannot_make_good_what_a_rule_has_failed() -> None:
    """Proves LAW-2: it is not even asked."""
    bench = Bench({"criterion": "It is nice", "passed": True}, confidence=1.0)
    verdict = await bench.judge(("cited", ""), ("text", "It is nice"), answer="- AI has 13 posts [posts:1]")
    assert verdict.outcome == "retry"
    assert bench.shown == []


async def test_numbers_of_the_users_own_words_need_no_source() -> None:
    bench = Bench()
    for answer in ("- Of the top 7, AI has 12 posts [posts:1]", "- In 300 words: AI has 12 posts [posts:1]"):
        assert (await bench.judge(("cited", ""), answer=answer, goal="The top 7 risers")).outcome == "approve"


async def test_a_failed_result_is_sent_back_with_its_code() -> None:
    error = {"code": "CH602", "message": "the server is down"}
    verdict = await Bench().judge(("nonempty", ""), status="failed", error=error)
    assert (verdict.outcome, verdict.reasons) == ("retry", ["CH602 the server is down"])


# --- by opinion ------------------------------------------------------------------------------------------------------

NICE, SHORT = ("text", "It is nice"), ("text", "It is short")


async def test_the_judge_is_shown_the_work_and_nothing_of_anybodys_confidence() -> None:
    bench = Bench({"criterion": "It is nice", "passed": True})
    await bench.judge(NICE)
    (shown,) = bench.shown
    assert set(shown) == {"task", "criteria", "answer", "evidence", "observations"}
    assert shown["criteria"] == ["It is nice"]
    assert "confidence" not in json.dumps(shown)
    assert "0.123" not in json.dumps(shown)


async def test_an_opinion_that_fails_a_criterion_sends_back() -> None:
    bench = Bench({"criterion": "It is nice", "passed": False, "why": "it is rude"}, confidence=1.0)
    verdict = await bench.judge(NICE)
    assert (verdict.outcome, verdict.reasons) == ("retry", ["It is nice: it is rude"])


@pytest.mark.parametrize(
    "checks",
    [
        [],
        [{"criterion": "It is nice", "passed": True}],
        [{"criterion": "It is nice", "passed": True}, {"criterion": "it is  NICE", "passed": True}],
        [{"criterion": "It is nice", "passed": True}, {"criterion": "It is short", "passed": False}],
        [
            {"criterion": "It is nice", "passed": True},
            {"criterion": "It is short", "passed": True},
            {"criterion": "It is short", "passed": False},
        ],
    ],
    ids=["none", "one left out", "one judged twice", "one failed", "one contradicted"],
)
async def test_every_criterion_has_to_be_judged(checks: list[dict[str, Any]]) -> None:
    verdict = await Bench(*checks, confidence=1.0).judge(NICE, SHORT)
    assert verdict.outcome == "retry"
    assert [check.criterion for check in verdict.checks] == ["It is nice", "It is short"]


async def test_a_criterion_may_be_reworded() -> None:
    checks = [{"criterion": "nice", "passed": True}, {"criterion": "short", "passed": True}]
    verdict = await Bench(*checks).judge(NICE, SHORT)
    assert verdict.outcome == "approve"
    assert [check.criterion for check in verdict.checks] == ["It is nice", "It is short"]


async def test_a_judge_is_never_surer_than_the_rules_allow() -> None:
    verdict = await Bench({"criterion": "It is nice", "passed": True}, confidence=1.0).judge(NICE)
    assert verdict.confidence == GROUNDED


async def test_a_judge_that_cannot_be_asked_approves_nothing() -> None:
    with pytest.raises(ModelFailed):
        await Bench(model=ScriptedModel(script=[ConnectionError("gone")])).judge(NICE)


# --- artifacts -------------------------------------------------------------------------------------------------------

MISSION_ID = "0b9d5a52-9a5e-4a39-8e0b-4a8d2b6d0c11"


class NoDatabase(CalibrationStore):
    """Knows nothing and keeps nothing: no human ever decided anything, and there is no certificate."""

    def __init__(self) -> None:
        self.made: list[Judgement] = []

    async def history(self, tenant: str, persona: str) -> tuple[int, int]:
        return 0, 0

    async def judgement(self, judgement_id: str) -> None:
        return None

    async def open_bands(self, tenant: str, point: str, topic: str) -> list[Certificate]:
        return []

    async def broken(self, tenant: str, point: str, topic: str) -> bool:
        return False

    async def keep(self, made: Judgement) -> Judgement:
        self.made.append(made)
        return made


async def judged_artifact(folder: Path, content: str, media_type: str) -> Verdict:
    stored = ArtifactStore(folder).write(MISSION_ID, "briefing.md", content, media_type)
    verdict, _ = await judged(Bench(), folder, Criterion(kind="cited"), Artifact.model_validate(stored.plain()))
    return verdict


async def judged(
    bench: Bench, folder: Path, criterion: Criterion, *stored: Artifact
) -> tuple[Verdict, list[Judgement]]:
    """What the node makes of a result, and what it keeps for the calibration."""
    recorded: list[dict[str, Any]] = []

    async def record(*_: Any, **data: Any) -> str:
        recorded.append(data)
        return ""

    task = Task(id="t1", title="t", instruction="i", criteria=[criterion])
    result = TaskResult(
        task_id="t1", status="done", answer=GOOD, evidence=[POST], artifacts=list(stored), context_version="v"
    )
    state = {
        "mission_id": MISSION_ID,
        "mission": Mission(goal="g").plain(),
        "team": {"name": "a"},
        "plan_round": 1,
        "plan": {"tasks": [task.plain()]},
        "outcomes": {"t1": result.plain()},
        "wave": ["t1"],
        "attempts": {"t1": 1},
    }
    kept, store = NoDatabase(), ArtifactStore(folder)
    bands = Bands(kept, bench.context.settings, SystemClock(), cast("Alarm", None))
    context = SimpleNamespace(**vars(bench.context), artifacts=store, record=record, judge=Judge(), bands=bands)
    update = await judge(cast("TeamState", state), Runtime(context=cast("Context", context)))
    assert recorded[0]["outcome"] == update["verdicts"]["t1"]["outcome"], "the verdict is on the record"
    return Verdict.model_validate(update["verdicts"]["t1"]), kept.made


@pytest.mark.parametrize("media_type", ["text/markdown", "text/plain", "application/markdown", "image/png"])
async def test_an_artifact_is_judged_whatever_its_worker_calls_it(media_type: str, tmp_path: Path) -> None:
    assert (await judged_artifact(tmp_path, GOOD, media_type)).outcome == "approve"
    made_up = await judged_artifact(tmp_path, "- AI has 13 posts [posts:1]", media_type)
    assert (made_up.outcome, "13" in made_up.reasons[0]) == ("retry", True)


async def test_data_is_no_prose(tmp_path: Path) -> None:
    assert (await judged_artifact(tmp_path, '{"posts": 13}', "application/json")).outcome == "approve"


# --- several opinions ------------------------------------------------------------------------------------------------


def opinion(confidence: float) -> AIMessage:
    """Somebody who finds the answer nice, more or less surely; at 0 not at all."""
    args = {"checks": [{"criterion": NICE[1], "passed": confidence > 0, "why": "dull"}], "confidence": confidence}
    return AIMessage("", tool_calls=[{"name": "Opinion", "args": args, "id": "1", "type": "tool_call"}])


@pytest.mark.parametrize(
    ("opinions", "outcome", "agreements"),
    [
        ([0.95], "approve", [None]),
        ([0.95, 0.9, 0.95], "approve", [1.0]),
        ([0.95, 0.6, 0.95], "escalate", [1 / 3]),
        ([0.6, 0.6, 0.95], "escalate", [2 / 3]),
        ([0.95, 0, 0.95], "retry", []),
    ],
    ids=["one", "they agree", "one doubts", "two doubt", "one sees a fault, so no band is asked"],
)
async def test_of_several_opinions_the_strictest_counts_and_the_share_that_agrees_is_kept(
    opinions: list[float], outcome: str, agreements: list[float | None], tmp_path: Path
) -> None:
    model = ScriptedModel(script=[opinion(confidence) for confidence in opinions])
    criterion = Criterion(kind="text", value=NICE[1])
    verdict, kept = await judged(Bench(model=model, judge_samples=len(opinions)), tmp_path, criterion)
    assert (verdict.outcome, [one.features.agreement for one in kept]) == (outcome, agreements)


async def test_rules_are_asked_once_for_they_would_say_the_same_again(tmp_path: Path) -> None:
    _, kept = await judged(Bench(judge_samples=3), tmp_path, Criterion(kind="cited"))
    assert [one.features.agreement for one in kept] == [None]


# --- the verdict -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("confidence", "outcome"),
    [(1.0, "approve"), (0.7, "approve"), (0.69, "escalate"), (0.5, "escalate"), (0.49, "retry"), (0.0, "retry")],
)
def test_confidence_decides_who_looks(confidence: float, outcome: str) -> None:
    passed = [Check(criterion="c", passed=True)]
    assert verdict_of(passed, confidence, 0.5, 0.7).outcome == outcome


@pytest.mark.parametrize("confidence", [0.0, 0.6, 1.0])
def test_a_failed_check_is_never_outweighed(confidence: float) -> None:
    failed = [Check(criterion="a", passed=True), Check(criterion="b", passed=False, why="w")]
    verdict = verdict_of(failed, confidence, 0.5, 0.7)
    assert (verdict.outcome, verdict.reasons) == ("retry", ["b: w"])


def test_a_verdict_that_is_not_an_approval_gives_reasons() -> None:
    passed = [Check(criterion="c", passed=True)]
    assert all(verdict_of(passed, confidence, 0.5, 0.7).reasons for confidence in (0.0, 0.6))
