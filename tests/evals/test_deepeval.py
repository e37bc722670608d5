"""The metrics as deepeval's own classes: the same scores, in deepeval's runner too, silently and without a trace.

Proves the part of FR-66 that names deepeval, and FR-68: a model's opinion is asked of a real judge only, and a judge
that answers nonsense has no opinion. deepeval is loaded in a child process: it costs seconds and changes its process.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from chimera.core.settings import Settings
from chimera.evals.opinions import why_skipped

pytestmark = pytest.mark.timeout(120)

CHILD = '''
import asyncio, json, logging, os, socket, sys
from chimera.evals.deepeval_loading import load

def refuse(*args, **kwargs):
    raise AssertionError("something wants the network")

socket.socket.connect = socket.socket.connect_ex = socket.getaddrinfo = refuse
ours = load("deepeval_metrics")
graded = load("graded")

from chimera.core.contracts import MissionResult
from chimera.core.errors import ModelAnswerInvalid
from chimera.evals.cases import GOLDEN, Case
from chimera.evals.record import ANSWER, Record
from chimera.evals.results import measured
from chimera.models.scripted import ScriptedModel
from langchain_core.messages import AIMessage

def record(name, status):
    case = Case.model_validate({"id": name, "kind": "plain", "goal": "Say it", "expect": {"status": ["done"]}})
    known = {"mission_id": "0b8f6f0e-9f0e-4f7e-8a53-0d1b8c8c1a11", "answer": "So.", "provider": "offline"}
    result = MissionResult(status=status, **known)
    return Record(case=case, folder=GOLDEN, status=status, result=result, documents={ANSWER: "So."}, model_calls=[1])

good, bad = record("good-one", "done"), record("bad-one", "failed")
same = [ours.measured_by_deepeval(found).scores == measured(found).scores for found in (good, bad)]

from deepeval import evaluate
from deepeval.evaluate.configs import AsyncConfig, CacheConfig, DisplayConfig

wanted = ("mission status", "mission budget", "mission approval")
metrics = [metric for metric in ours.mission_metrics([good, bad]) if metric.__name__ in wanted]
out, sys.stdout = sys.stdout, open(os.devnull, "w")
done = evaluate(
    [ours.as_test_case(good), ours.as_test_case(bad)],
    metrics,
    async_config=AsyncConfig(run_async=False),
    display_config=DisplayConfig(show_indicator=False, print_results=False),
    cache_config=CacheConfig(write_cache=False, use_cache=False),
)
sys.stdout = out
by_deepeval = {
    result.name: {found.name: found.success for found in result.metrics_data} for result in done.test_results
}

def judged(value):
    """The opinion of a judge that follows a script."""
    form = AIMessage("", tool_calls=[{"name": "ReasonScore", "args": {"reason": "fair", "score": value}, "id": "1"}])
    judge = graded.ChatJudge(ScriptedModel(script=[form]), "scripted", 5.0)
    try:
        found = asyncio.run(graded.opinion(good, judge))
    except ModelAnswerInvalid as error:
        return error.message
    return [found.value, found.passed, found.reason]

import chimera.evals.opinions as opinions
from chimera.core.settings import Settings

def asked(*values):
    """What a whole run makes of a judge: who was asked, and how often it gave nothing usable."""
    forms = [{"name": "ReasonScore", "args": {"reason": "r", "score": value}, "id": "1"} for value in values]
    lines = [AIMessage("", tool_calls=[form]) for form in forms]
    opinions.choose_model = lambda name, settings: ScriptedModel(script=lines)
    results = [measured(found) for found in (good, bad)]
    after, unusable = asyncio.run(opinions.with_opinions(results, Settings(model="openai:x")))
    decided = [found.passed for found in after] != [found.passed for found in results]
    return [[len(found.opinions) for found in after], unusable, decided]

opinions_of = [judged(8), judged(2), judged(80)]
runs = [asked(3), asked(90)]
print(json.dumps({"same": same, "by_deepeval": by_deepeval, "judged": opinions_of, "asked": runs}))
'''


@pytest.mark.long
def test_deepeval_scores_the_same_in_silence_and_leaves_nothing(tmp_path: Path) -> None:
    """One child: importing deepeval costs it several seconds."""
    work, home = tmp_path / "work", tmp_path / "home"
    work.mkdir()
    home.mkdir()
    (work / ".env").write_text("CONFIDENT_API_KEY=from-a-dotenv-file\n")
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("DEEPEVAL", "CHIMERA"))}
    environment = {**kept, "HOME": str(home), "DEEPEVAL_CACHE_FOLDER": str(tmp_path / "cache")}
    done = subprocess.run(
        [sys.executable, "-P", "-c", CHILD],
        cwd=work,
        env=environment,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["same"] == [True, True]
    assert found["by_deepeval"]["good-one"]["mission status"] is True
    assert found["by_deepeval"]["good-one"]["mission budget"] is True
    assert found["by_deepeval"]["bad-one"]["mission status"] is False
    assert found["judged"][0] == [0.8, True, "fair"]
    assert found["judged"][1] == [0.2, False, "fair"]
    assert "outside of 0 to 1" in found["judged"][2]
    assert found["asked"][0] == [[1, 0], 0, False], "only what was done is graded, and an opinion decides nothing"
    assert found["asked"][1] == [[0, 0], 1, False]
    assert [path.name for path in work.iterdir()] == [".env"]
    assert list(home.iterdir()) == []


def test_no_model_is_asked_for_its_opinion_without_a_real_judge() -> None:
    offline, real = Settings(model="offline"), Settings(model="openai:x")
    assert "offline rules" in why_skipped(offline, quick=False)
    assert "offline rules" in why_skipped(Settings(model="openai:x", models={"judge": "offline"}), quick=False)
    assert "quick" in why_skipped(real, quick=True)
    assert why_skipped(real, quick=False) == ""
