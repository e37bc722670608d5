"""Runs golden cases, a few at a time, and brings every one of them home as a record."""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from chimera.core.contracts import Budget, Mission, MissionResult, MissionStatus, ReviewDecision, ReviewItem
from chimera.core.errors import ChimeraError, ConfigError, StoreError
from chimera.core.money import Money
from chimera.core.settings import Settings
from chimera.evals.cases import Answer, Case
from chimera.evals.observe import observe, tenant_of
from chimera.evals.record import Record
from chimera.evals.results import CaseResult
from chimera.evals.script import scripted_models
from chimera.review.reviewers import Reviewer
from chimera.store.principals import Principal, named
from chimera.swarm import ChimeraSwarm

CONCURRENCY = 4
GRACE_S = 60.0
"""What a case may take beyond its mission's own deadline: to open its swarm, to wait for the others, to be observed."""

REVIEWER = "scripted reviewer of the evaluation (not a human)"
ROLE = "rehearsal"

Score = Callable[[Record], CaseResult]
"""Judges a record as soon as it is home, while the files that it speaks of are still there."""


async def run_cases(
    cases: Sequence[Case], settings: Settings, score: Score, concurrency: int = CONCURRENCY
) -> list[CaseResult]:
    """Run every case and return the results in the order of the cases. A case that breaks is a result of that.

    Cases without a script share one swarm; a case with one gets its own swarm on the same servers.

    Raises:
        ConfigError, StoreError: nothing can be run at all.
    """
    slots = asyncio.Semaphore(concurrency)
    async with ChimeraSwarm(settings) as shared:

        async def attend(case: Case) -> CaseResult:
            async with slots:
                record = await _guarded(case, settings, shared)
            return await asyncio.to_thread(_scored, record, score)

        async with asyncio.TaskGroup() as group:
            running = [group.create_task(attend(case)) for case in cases]
    return [task.result() for task in running]


def scripted_reviewer(case: Case) -> Reviewer | None:
    """Who answers in the place of a human: the first answer that fits a question; without one it stays open."""
    if not case.options.reviewer:
        return None

    async def reviewer(item: ReviewItem) -> ReviewDecision | None:
        answer = next((answer for answer in case.options.reviewer if _is_for(answer, item)), None)
        if answer is None:
            return None
        return ReviewDecision(action=answer.action, reviewer=REVIEWER, reason=answer.reason, payload=answer.payload)

    return reviewer


def _is_for(answer: Answer, item: ReviewItem) -> bool:
    when = answer.when
    asked = (str(item.point), item.payload.get("kind"), item.payload.get("capability"))
    wanted = (when.point, when.kind, when.capability)
    return all(want is None or want == have for want, have in zip(wanted, asked, strict=True))


async def _guarded(case: Case, settings: Settings, shared: ChimeraSwarm) -> Record:
    """Play one case; what goes wrong around the mission, not in it, becomes the record's problem."""
    deadline = case.options.deadline_s + GRACE_S
    try:
        async with asyncio.timeout(deadline):
            if not case.script:
                return await _play(case, settings, shared)
            async with ChimeraSwarm(settings, models=scripted_models(case.placed(settings.home))) as own:
                return await _play(case, settings, own)
    except TimeoutError:
        return Record(case=case, folder=settings.home, problem=f"did not come home within {deadline:g} s")
    except Exception as error:  # noqa: BLE001 - the harness survives whatever one case does, and fails at the end
        return Record(case=case, folder=settings.home, problem=f"{type(error).__name__}: {error}"[:500])


def _scored(record: Record, score: Score) -> CaseResult:
    try:
        return score(record)
    except Exception as error:  # noqa: BLE001 - a metric that breaks has not passed anything, and fails the evaluation
        return CaseResult(replace(record, problem=f"scoring: {type(error).__name__}: {error}"[:500]), {})


async def _play(case: Case, settings: Settings, swarm: ChimeraSwarm) -> Record:
    mission_id = swarm.app.context.new_id()
    await _enrol_reviewer(swarm, tenant_of(case))
    began = time.monotonic()
    result, raised, waited = None, "", False
    try:
        result, waited = await _run(case.placed(settings.home), mission_id, swarm)
    except (ConfigError, StoreError):
        raise  # the machine's fault, not the mission's
    except ChimeraError as error:
        raised = str(error)
    seconds = time.monotonic() - began
    record = await observe(swarm, case, mission_id, result, settings.home)
    return replace(record, raised=raised, waited=waited, seconds=seconds)


async def _enrol_reviewer(swarm: ChimeraSwarm, tenant: str) -> None:
    """Let the script answer in the tenant of its case, and nowhere else. It says what it is, on the record too."""
    context = swarm.app.context
    principals = context.oversight.principals
    async with principals.changing(tenant) as (connection, there):
        if named(there, REVIEWER) is None:
            script = Principal(tenant, REVIEWER, "service", (ROLE,), context.clock.now(), "evaluation")
            await principals.write(connection, script)
            await context.audit.append_within(connection, script.told("principal.enrolled", "evaluation"))


async def _run(case: Case, mission_id: str, swarm: ChimeraSwarm) -> tuple[MissionResult, bool]:
    """Run the mission; if nobody is there at first, answer later and resume it. Also says whether it waited."""
    options, reviewer = case.options, scripted_reviewer(case)
    result = await swarm.run(
        mission_of(case),
        mission_id=mission_id,
        approve_plan=options.approve_plan,
        dry_run=options.dry_run,
        reviewer=None if options.answer_late else reviewer,
    )
    waited = result.status == MissionStatus.WAITING
    if waited and options.answer_late:
        result = await swarm.resume(mission_id, reviewer=reviewer)
    return result, waited


def mission_of(case: Case) -> Mission:
    """The mission that a placed case asks for.

    Raises:
        InputError: its amount of money is none.
    """
    options = case.options
    money = Money.parse(options.money) if options.money else None
    return Mission(
        goal=case.goal,
        inputs=case.inputs,
        persona=options.persona,
        constraints=options.constraints,
        budget=Budget(money=money, tokens=options.tokens),
        deadline_s=options.deadline_s,
        tenant=tenant_of(case),
    )
