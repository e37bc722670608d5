"""Certified bands in missions: what they let pass, what they never let pass, who looks blind, and the alarm.

Humans' decisions are rows as the queue writes them; certificates are learnt by the code that the command uses.
"""

import asyncio
import json
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from typer.testing import CliRunner

from chimera import ChimeraSwarm
from chimera.cli.main import app
from chimera.core.contracts import MissionResult, ReviewItem
from chimera.core.errors import GuardRejected
from chimera.guards.bands import BandKeeper
from chimera.review.calibration.store import CalibrationStore, Certificate
from chimera.store.postgres import Pool, fetch, open_pool

if TYPE_CHECKING:
    from conftest import Stage

JUDGED = [{"kind": "text", "value": "good"}]
WHERE = ("default", "quality", "general")
LABELS = 1_200


@pytest.fixture
async def opened(shared_database_url: str) -> AsyncGenerator[Pool]:
    """The database of the stage, without a certificate before and after."""
    async with open_pool(shared_database_url, 2) as pool:
        yield pool
        await fetch(pool, "DELETE FROM judgements")
        await fetch(pool, "DELETE FROM certificates")


async def decided(pool: Pool, *, scale: float = 1.0, count: int = LABELS) -> None:
    """What humans said of results: right as often as the judge was sure, each of a mission of its own."""
    rng = np.random.default_rng(2)
    sure = rng.uniform(0.3, 1.0, count)
    ok = rng.random(count) < 1 / (1 + np.exp(-14 * scale * (sure - 0.55)))
    rows = [(float(one), "approve" if good else "reject") for one, good in zip(sure, ok, strict=True)]
    await fetch(
        pool,
        "WITH said AS (SELECT gen_random_uuid() AS id, u.sure, u.action FROM unnest(%s::float8[], %s::text[]) "
        "AS u(sure, action)), m AS (INSERT INTO missions (id, tenant, goal, mission, context_version, status, "
        "deadline_at) SELECT id, 'default', 'g', '{}', 'v', 'done', now() FROM said), "
        "r AS (INSERT INTO reviews (id, mission_id, tenant, point, question, payload, confidence, reasons, state, "
        "decision, decided_at, acts_at) SELECT id, id, 'default', 'quality', 'q', '{\"kind\": \"result\"}', 0.5, '[]', "
        "'decided', jsonb_build_object('action', action, 'reviewer', 'ada', 'reason', 'r'), now(), now() FROM said) "
        "INSERT INTO judgements (id, mission_id, tenant, point, topic, persona, features, band, propensity, audited, "
        "review_id, judged_at) SELECT id, id, 'default', 'quality', 'general', 'p', jsonb_build_object('judge', sure), "
        "'human', 1, false, id, now() FROM said RETURNING id",
        ([row[0] for row in rows], [row[1] for row in rows]),
    )


async def certified(swarm: ChimeraSwarm) -> list[Certificate]:
    """Learn and put in force, as ``chimera review calibrate`` does."""
    context = swarm.app.context
    learnt = await context.bands.learnt(*WHERE)
    return await context.oversight.bands.open(learnt, *WHERE, context.bands.alpha("quality"), "ada")


async def pending(swarm: ChimeraSwarm, mission: MissionResult) -> list[ReviewItem]:
    return await swarm.app.context.reviews.pending(mission.mission_id)


def sure_of(stage: "Stage", confidence: float, title: str = "task 1", **fields: Any) -> Any:
    """A play of one task whose result the judge is that sure of."""
    return stage.play(
        {"go": [stage.plan(stage.task(1, title=title, criteria=JUDGED, **fields))]}, confidence=confidence
    )


async def test_a_certificate_decides_where_thresholds_did(stage: "Stage", opened: Pool) -> None:
    """What had to wait passes above the threshold, what passed waits below it. Proves FR-703."""
    await decided(opened)
    async with stage.swarm(sure_of(stage, 0.88), auto_approve=0.99, auto_review=0.95) as swarm:
        waiting = await swarm.run("go")
        assert waiting.status == "waiting"
        made = await certified(swarm)
        (approve,) = [one for one in made if one.side == "approve"]
        assert approve.bound <= approve.alpha == 0.10
        passed = await swarm.run("go")
        assert (passed.status, await pending(swarm, passed)) == ("done", [])
        events = [event["kind"] for event in await swarm.app.context.audit.tail("default", 40)]
    assert "review.band-opened" in events
    async with stage.swarm(sure_of(stage, 0.6), auto_approve=0.5, auto_review=0.5) as swarm:
        below = await swarm.run("go")
        (item,) = await pending(swarm, below)
    assert (below.status, item.payload["blocking"]) == ("waiting", True)
    assert "certified bands" in item.reasons[0]


async def test_too_few_decisions_open_nothing(stage: "Stage", opened: Pool) -> None:
    """Proves FR-701 and FR-703: the reason is told, and the thresholds stay."""
    await decided(opened, count=60)
    async with stage.swarm(sure_of(stage, 0.95)) as swarm:
        learnt = await swarm.app.context.bands.learnt(*WHERE)
        assert await certified(swarm) == []
    assert "at least 90 are needed" in learnt.approve.why


async def test_nobody_opens_a_band_who_may_not(stage: "Stage", opened: Pool) -> None:
    """Proves FR-703."""
    await decided(opened)
    async with stage.swarm(sure_of(stage, 0.95)) as swarm:
        context = swarm.app.context
        learnt = await context.bands.learnt(*WHERE)
        with pytest.raises(GuardRejected):
            await context.oversight.bands.open(learnt, *WHERE, 0.1, "mallory")
        assert await context.bands.store.open_bands(*WHERE) == []


async def test_claims_on_some_topics_go_to_a_human_whatever_the_confidence(stage: "Stage", opened: Pool) -> None:
    """Without a certificate and with one. Proves FR-44."""
    play = sure_of(stage, 0.97, title="This vaccine cures cancer")
    async with stage.swarm(play) as swarm:
        result = await swarm.run("go")
        (item,) = await pending(swarm, result)
    assert (result.status, item.reasons) == ("waiting", ["claims about health are for a human"])
    async with stage.swarm(play, review_topics=["law"]) as swarm:
        assert (await swarm.run("go")).status == "done"


async def test_what_a_human_let_through_is_not_asked_about_twice(stage: "Stage", opened: Pool) -> None:
    """Proves FR-704: with the answers of humans, and that without them it would have waited."""
    plan = stage.plan(stage.task(1, tools=["ledger__wipe"]))
    play = stage.play({"go": [plan]}, stage.steps("ledger__wipe"))
    async with stage.swarm(play, ledger=True) as swarm:
        waiting = await swarm.run("go")
        (call,) = await pending(swarm, waiting)
        await swarm.answer(call.id, stage.decide())
        again = await swarm.resume(waiting.mission_id)
        assert await swarm.app.context.bands.store.let_through(waiting.mission_id) == {"ledger__wipe"}
        judged = await fetch(opened, "SELECT band FROM judgements WHERE mission_id = %s", (waiting.mission_id,))
    assert (again.status, len(stage.effects())) == ("done", 1)
    assert [row["band"] for row in judged] == ["threshold"]


async def test_what_may_destroy_passes_by_no_threshold(
    stage: "Stage", opened: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same mission, where nobody can be shown to have let the call through. Proves FR-704."""

    async def nobody(_store: CalibrationStore, _mission: str) -> set[str]:
        return set()

    monkeypatch.setattr(CalibrationStore, "let_through", nobody)
    play = stage.play(
        {"go": [stage.plan(stage.task(1, tools=["ledger__wipe"]))]}, stage.steps("ledger__wipe"), confidence=1.0
    )
    async with stage.swarm(play, ledger=True) as swarm:
        waiting = await swarm.run("go")
        (call,) = await pending(swarm, waiting)
        await swarm.answer(call.id, stage.decide())
        again = await swarm.resume(waiting.mission_id)
        (item,) = await pending(swarm, waiting)
    assert (again.status, item.payload["kind"]) == ("waiting", "result")
    assert "may destroy" in item.reasons[0]


async def test_audits_are_blind_and_close_a_band_that_breaks_its_promise(stage: "Stage", opened: Pool) -> None:
    """All that passes is audited here. The humans find it wrong; the next result waits, and a new certificate opens.

    Proves FR-705 and FR-706: with an incident and on the record, once.
    """
    await decided(opened)
    async with stage.swarm(sure_of(stage, 0.95), review_audit_share=0.999999) as swarm:
        made = await certified(swarm)
        (approve,) = [one for one in made if one.side == "approve"]
        for _ in range(6):
            passed = await swarm.run("go")
            if passed.status == "waiting":
                break
            (item,) = await pending(swarm, passed)
            assert (item.confidence, item.reasons, item.payload["blocking"]) == (0.5, [], False)
            await swarm.answer(item.id, stage.decide("reject", reason="wrong"))
        else:
            pytest.fail("the band was never closed")
        context = swarm.app.context
        closed = next(one for one in await context.bands.store.certificates("default") if one.id == approve.id)
        incidents = [one for one in await context.oversight.incidents.listed() if one.rule == "incident.drift"]
        trail = [event["kind"] for event in await context.audit.tail("default", 60)]
        assert closed.closed_at is not None
        assert "were wrong" in closed.why
        assert (len(incidents), trail.count("review.band-closed")) == (1, 1)
        await context.oversight.bands.close(approve, "again")
        assert len([one for one in await context.oversight.incidents.listed() if one.rule == "incident.drift"]) == 1
        await fetch(opened, "UPDATE certificates SET closed_at = now() WHERE side = 'reject' AND closed_at IS NULL")
        still = await swarm.run("go")  # as sure as the thresholds could wish, and they do not come back
        (item,) = await pending(swarm, still)
        assert (still.status, item.reasons) == (
            "waiting",
            ["the certified band was closed, and there is no new certificate"],
        )
        assert [one.side for one in await certified(swarm) if one.side == "approve"] == ["approve"]
        assert not await context.bands.store.broken(*WHERE)


async def test_a_result_that_is_placed_again_stays_where_it_was(stage: "Stage", opened: Pool) -> None:
    """Proves FR-705: the lot is drawn once, whatever happens to the process after that."""
    from chimera.review.calibration.bands import Bands, Judged
    from chimera.review.calibration.features import Features

    (mission,) = await fetch(
        opened,
        "INSERT INTO missions (id, tenant, goal, mission, context_version, status, deadline_at) VALUES "
        "(gen_random_uuid(), 'default', 'g', '{}', 'v', 'done', now()) RETURNING id",
    )
    store = CalibrationStore(opened)
    async with stage.swarm(sure_of(stage, 0.95)) as swarm:
        alarm: BandKeeper = swarm.app.context.oversight.bands
        settings = swarm.app.settings.model_copy(update={"review_audit_share": 0.5})
        features, name = Features(judge=0.95), "0b9d5a52-9a5e-4a39-8e0b-4a8d2b6d0c99"
        one = Judged(name, str(mission["id"]), *WHERE, "p", features, 0.95, sure=True, lasting=False)
        first = await Bands(store, settings, stage.clock, alarm, lambda: 0.1).place(one)
        again = await Bands(store, settings, stage.clock, alarm, lambda: 0.9).place(one)
    assert first.judgement == again.judgement
    assert first.judgement.audited


async def test_the_commands_certify_and_tell(
    opened: Pool,
    people: None,
    shared_database_url: str,
    endpoints: Any,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """First why there is none, then a certificate, and a page with a plot in which names are text.

    Proves FR-703 and FR-707.
    """
    monkeypatch.setenv("CHIMERA_DATABASE_URL", shared_database_url)
    monkeypatch.setenv("CHIMERA_REDIS_URL", endpoints.redis_url)
    monkeypatch.setenv("CHIMERA_HOME", str(tmp_path / "home"))

    async def chimera(*arguments: str) -> Any:
        done = await asyncio.to_thread(CliRunner().invoke, app, ["review", *arguments, "--json"])
        return done.exit_code, json.loads(done.stdout)

    await decided(opened, count=60)
    code, told = await chimera("calibrate", "--by", "ada")
    assert (code, told["certificates"], "at least 90" in told["why"]["approve"]) == (0, [], True)
    await decided(opened)
    _, dry = await chimera("calibrate", "--dry-run")
    assert (dry["certificates"], (await chimera("bands"))[1]["certificates"]) == ([], [])
    _, told = await chimera("calibrate", "--by", "ada")
    assert "approve" in {one["side"] for one in told["certificates"]}
    code, refused = await chimera("calibrate", "--by", "mallory")
    assert (code != 0, refused["error"]["code"]) == (True, "CH500")
    _, bands = await chimera("bands")
    assert {one["id"] for one in bands["certificates"]} == {one["id"] for one in told["certificates"]}
    assert all(one["closed_at"] is None for one in bands["certificates"])
    await fetch(opened, "UPDATE judgements SET topic = '<script>alert(1)</script>' WHERE random() < 0.2")
    _, report = await chimera("report", "--html", str(tmp_path / "report.html"))
    general = next(one for one in report["points"] if one["topic"] == "general")
    assert all(one["low"] <= one["share"] <= one["high"] for one in general["bins"])
    assert sum(one["count"] for one in general["bins"]) <= general["decided"]
    page = (tmp_path / "report.html").read_text("utf-8")
    assert "<svg" in page
    assert "<script" not in page
    assert "&lt;script&gt;" in page
