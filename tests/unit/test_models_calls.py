"""Model calls: repeated where that helps, then tried on the next model, always counted, never beyond the budget.

Proves FR-46, FR-48, FR-18 and TR-8. The models are real LangChain chat models that play a script.
"""

import asyncio
import itertools
from collections.abc import Mapping, Sequence
from types import MappingProxyType, SimpleNamespace
from typing import Any

import pytest
from langchain_core.callbacks import AsyncCallbackManagerForLLMRun
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_core.outputs import ChatResult

from chimera.core.contracts import Budget, Split, Usage
from chimera.core.errors import (
    BudgetExceeded,
    ModelAnswerInvalid,
    ModelFailed,
    ModelTimeout,
    ModelUnknown,
    StoreUnavailable,
)
from chimera.core.ids import seeded_ids
from chimera.core.money import Money
from chimera.core.seats import Seats
from chimera.core.settings import Settings
from chimera.models import calls as calling
from chimera.models import limits
from chimera.models.calls import ANSWERED_BY, Models
from chimera.models.gate import Caller, Sent
from chimera.models.scripted import ScriptedModel

SECRET = "sk-canary-5f2d"
NO_BUDGET = Budget()
MESSAGES = [HumanMessage("x" * 400)]  # a hundred tokens


class Ledger:
    """A meter in memory."""

    def __init__(self) -> None:
        self.rows: list[tuple[str, str, str, str, Usage]] = []

    async def add(self, call_id: str, mission_id: str, role: str, model: str, usage: Usage) -> None:
        self.rows.append((call_id, mission_id, role, model, usage))

    async def total(self, mission_id: str) -> Usage:
        return sum((row[4] for row in self.rows if row[1] == mission_id), Usage())


class Http(Exception):
    """A provider's error: it has a status, and quotes what it was sent."""

    def __init__(self, status: int, headers: Mapping[str, str] = MappingProxyType({})) -> None:
        super().__init__(f"HTTP {status} for Bearer {SECRET}: you asked {MESSAGES[0].content}")
        self.status_code = status
        self.response = SimpleNamespace(headers=headers)


class Hanging(ScriptedModel):
    """A model that never answers."""

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        await asyncio.Event().wait()
        raise AssertionError


def said(text: str = "yes", tokens: tuple[int, int] | None = (10, 5)) -> AIMessage:
    message = AIMessage(content=text)
    if tokens:
        message.usage_metadata = {"input_tokens": tokens[0], "output_tokens": tokens[1], "total_tokens": sum(tokens)}
    return message


def form(args: dict[str, Any], tokens: tuple[int, int] = (10, 5)) -> AIMessage:
    call = {"name": "Split", "args": args, "id": "1", "type": "tool_call"}
    message = said("", tokens)
    return message.model_copy(update={"tool_calls": [call]})


TEAMS = {"teams": [{"name": "a", "goal": "b"}]}


class Open:
    """A gate that everything passes."""

    async def passed(self, caller: Caller, sent: Sent) -> Sent:
        return sent


class Bench:
    """Models by name, each with its script, and what they used."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **settings: Any) -> None:
        monkeypatch.setattr(calling, "BACKOFF_S", 0.0)
        monkeypatch.setattr(limits, "PAUSE_S", 0.0)
        monkeypatch.setattr(calling, "choose_model", self._choose)
        self.scripts: dict[str, ScriptedModel] = {}
        self.asked: list[str] = []
        self.ledger = Ledger()
        self.settings = Settings.model_validate({"model": "p:first", **settings})
        self.models = Models(self.settings, self.ledger, seeded_ids(1), gate=Open())

    def _choose(self, name: str, settings: Settings) -> ScriptedModel:
        if name not in self.scripts:
            raise ModelUnknown(name)
        return self.scripts[name]

    def play(self, **lines: Sequence[Any]) -> None:
        for name, script in lines.items():
            self.scripts[f"p:{name}"] = ScriptedModel(script=[self._noted(f"p:{name}", line) for line in script])

    def _noted(self, name: str, line: Any) -> Any:
        def speak(messages: Sequence[BaseMessage], tools: Sequence[str]) -> AIMessage:
            self.asked.append(name)
            if isinstance(line, Exception):
                raise line
            return line

        return speak

    async def ask(self, budget: Budget = NO_BUDGET, role: str = "worker", mission: str = "m") -> AIMessage:
        return await self.models.turn(Caller(mission, role, budget), MESSAGES, [])

    async def fill(self, budget: Budget = NO_BUDGET) -> Split:
        return await self.models.structured(Caller("m", "orchestrator", budget), MESSAGES, Split)


# --- repeating and falling back --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "error",
    [Http(429), Http(500), Http(503), Http(408), Http(200), ConnectionError("gone"), ValueError("no JSON")],
    ids=lambda error: f"{type(error).__name__} {getattr(error, 'status_code', '')}",
)
async def test_what_may_pass_is_repeated(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(monkeypatch)
    bench.play(first=[error, error, said()])
    assert (await bench.ask()).text == "yes"
    assert bench.asked == ["p:first"] * 3


@pytest.mark.parametrize(
    "error",
    [Http(400), Http(401), Http(403), Http(404), Http(422), NotImplementedError(), TypeError("x")],
    ids=lambda error: f"{type(error).__name__} {getattr(error, 'status_code', '')}",
)
async def test_what_will_not_pass_is_not_repeated(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(monkeypatch)
    bench.play(first=[error])
    with pytest.raises(ModelFailed):
        await bench.ask()
    assert bench.asked == ["p:first"]


async def test_a_provider_that_is_asked_too_often_is_waited_for_unless_another_can_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Being told to wait is no failure, however often. Proves FR-365."""
    bench = Bench(monkeypatch, model_retries=0)
    bench.play(first=[*[Http(429)] * 5, said()])
    assert (await bench.ask()).text == "yes"
    assert len(bench.asked) == 6
    later = Bench(monkeypatch, model_fallbacks=["p:second"])
    later.play(first=[Http(429, {"retry-after": "60"})], second=[said("second")])
    assert (await later.ask()).text == "second"
    assert later.asked == ["p:first", "p:second"]
    alone = Bench(monkeypatch, model_wait_s=30)
    alone.play(first=[Http(429, {"retry-after": "60"})])
    with pytest.raises(ModelFailed, match="429"):
        await alone.ask()
    assert alone.asked == ["p:first"], "a pause that is longer than anybody waits is not waited for"


async def test_the_next_model_is_asked_when_one_has_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(monkeypatch, model_fallbacks=["p:second", "p:third"], model_retries=1)
    bench.play(first=[Http(500)], second=[Http(401)], third=[said("third")])
    message = await bench.ask()
    assert message.text == "third"
    assert message.response_metadata[ANSWERED_BY] == "p:third", "the result names who really made it"
    assert bench.asked == ["p:first", "p:first", "p:second", "p:third"]
    assert [row[3] for row in bench.ledger.rows] == ["p:third"]


async def test_when_all_have_failed_the_last_failure_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(monkeypatch, model_fallbacks=["p:second"], model_retries=0)
    bench.play(first=[Http(500)], second=[Http(404)])
    with pytest.raises(ModelFailed) as failed:
        await bench.ask()
    assert (failed.value.code, failed.value.retryable) == ("CH402", True)
    assert failed.value.message == "p:second failed: Http (HTTP 404)"


async def test_it_does_not_wait_after_the_last_try(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []

    async def wait(seconds: float) -> None:
        waits.append(seconds)

    bench = Bench(monkeypatch, model_retries=2)
    monkeypatch.setattr(calling, "BACKOFF_S", 0.25)
    monkeypatch.setattr(calling.asyncio, "sleep", wait)
    bench.play(first=[Http(500)])
    with pytest.raises(ModelFailed):
        await bench.ask()
    assert waits == [0.25, 0.5]


async def test_each_role_can_have_its_own_model(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(monkeypatch, models={"judge": "p:judge"})
    bench.play(first=[said("w")], judge=[said("j")])
    assert [(await bench.ask(role=role)).text for role in ("worker", "judge", "planner")] == ["w", "j", "w"]
    assert bench.models.names("judge") == ["p:judge"]


async def test_a_model_object_can_be_given_for_a_role_or_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(monkeypatch)
    given = {"judge": ScriptedModel(script=[said("judge")]), "*": ScriptedModel(script=[said("all")])}
    models = Models(bench.settings, bench.ledger, seeded_ids(1), given, gate=Open())
    answers = [(await models.turn(Caller("m", role, Budget()), MESSAGES, [])).text for role in ("judge", "worker")]
    assert answers == ["judge", "all"]
    assert models.names("judge") == ["scripted"]


# --- deadlines -------------------------------------------------------------------------------------------------------


async def test_a_model_that_hangs_times_out(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(monkeypatch, model_timeout_s=0.05, model_retries=1)
    bench.scripts["p:first"] = Hanging(script=[])
    with pytest.raises(ModelTimeout) as late:
        await bench.ask()
    assert (late.value.code, late.value.message) == ("CH403", "p:first did not answer within 0.05 s")


async def test_the_providers_own_timeout_is_one_too(monkeypatch: pytest.MonkeyPatch) -> None:
    class APITimeoutError(Exception):
        pass

    bench = Bench(monkeypatch)
    bench.play(first=[APITimeoutError(SECRET)])
    with pytest.raises(ModelTimeout):
        await bench.ask()


async def test_a_cancelled_call_is_cancelled_and_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(monkeypatch)
    bench.scripts["p:first"] = Hanging(script=[])
    running = asyncio.ensure_future(bench.ask())
    await asyncio.sleep(0.01)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


# --- forms -----------------------------------------------------------------------------------------------------------


async def test_an_answer_of_the_form_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(monkeypatch)
    bench.play(first=[form(TEAMS)])
    assert (await bench.fill()) == Split.model_validate(TEAMS)


async def test_an_answer_of_another_form_is_asked_for_again_and_paid_for(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(monkeypatch)
    bench.play(first=[form({"teams": []}), said("no form at all"), form(TEAMS)])
    await bench.fill()
    assert (await bench.ledger.total("m")).calls == 3, "a wrong answer was made and counts"


async def test_a_model_that_never_keeps_the_form_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(monkeypatch, model_fallbacks=["p:second"])
    bench.play(first=[form({"teams": [{"name": "no name!", "goal": SECRET}]})], second=[said("what?")])
    with pytest.raises(ModelAnswerInvalid) as wrong:
        await bench.fill()
    assert wrong.value.code == "CH404"
    assert SECRET not in str(wrong.value)
    assert bench.asked == ["p:first"] * 3 + ["p:second"] * 3


# --- counting --------------------------------------------------------------------------------------------------------


async def test_tokens_are_counted_as_the_model_reports_them(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(monkeypatch, prices={"p:first": (3_000_000, 15_000_000)})
    bench.play(first=[said(tokens=(1_000, 200)), said(tokens=(500, 100))])
    for _ in range(2):
        await bench.ask(role="planner")
    assert await bench.ledger.total("m") == Usage(calls=2, tokens_in=1_500, tokens_out=300, cost=Money(units=9_000))
    assert {row[1:4] for row in bench.ledger.rows} == {("m", "planner", "p:first")}
    assert len({row[0] for row in bench.ledger.rows}) == 2, "each call has an id of its own"


@pytest.mark.parametrize(
    ("tokens", "price", "cost"),
    [
        ((1, 0), (1, 0), 1),
        ((999_999, 0), (1, 0), 1),
        ((1_000_001, 0), (1, 0), 2),
        ((0, 0), (5, 5), 0),
        ((7, 7), (0, 0), 0),
    ],
)
async def test_cost_is_rounded_up(
    tokens: tuple[int, int], price: tuple[int, int], cost: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rounding down would leak a budget away, a fraction at a time."""
    bench = Bench(monkeypatch, prices={"p:first": price})
    bench.play(first=[said(tokens=tokens)])
    await bench.ask()
    assert bench.ledger.rows[0][4].cost == Money(units=cost)


async def test_a_model_that_reports_nothing_is_estimated(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(monkeypatch)
    bench.play(first=[said("y" * 40, tokens=None)])
    await bench.ask()
    used = bench.ledger.rows[0][4]
    assert (used.tokens_in, used.tokens_out) == (100, 10)


async def test_what_is_reported_wrongly_does_not_give_tokens_back(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(monkeypatch)
    bench.play(first=[said(tokens=(-500, -1))])
    await bench.ask()
    used = bench.ledger.rows[0][4]
    assert (used.tokens_in, used.tokens_out) == (0, 0)


async def test_a_call_that_cannot_be_counted_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a mission could go on for ever for free while its record is away."""
    bench = Bench(monkeypatch)

    async def broken(*_: Any) -> None:
        raise StoreUnavailable("gone")

    monkeypatch.setattr(bench.ledger, "add", broken)
    bench.play(first=[said()])
    with pytest.raises(StoreUnavailable):
        await bench.ask()
    assert bench.asked == ["p:first"]


# --- budgets ---------------------------------------------------------------------------------------------------------


async def calls_within(bench: Bench, budget: Budget) -> int:
    for made in itertools.count():
        try:
            await bench.ask(budget)
        except BudgetExceeded:
            return made
    raise AssertionError


@pytest.mark.parametrize(("tokens", "made"), [(0, 0), (99, 0), (100, 1), (214, 1), (215, 2), (1_000, 8)])
async def test_it_stops_before_the_call_that_would_exceed_the_tokens(
    tokens: int, made: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each call sends a hundred tokens and uses 115 in all; one that does not fit any more is not made."""
    bench = Bench(monkeypatch)
    bench.play(first=[said(tokens=(100, 15))])
    assert await calls_within(bench, Budget(tokens=tokens)) == made
    assert len(bench.asked) == made


async def test_a_mission_cannot_lift_the_limit_of_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(monkeypatch, max_tokens=215)
    bench.play(first=[said(tokens=(100, 15))])
    assert await calls_within(bench, Budget(tokens=10_000_000)) == 2
    assert await calls_within(bench, Budget()) == 0, "the limit of the settings holds without a budget too"


@pytest.mark.parametrize(("units", "made"), [(0, 0), (99, 0), (100, 1), (214, 1), (215, 2), (1_150, 10)])
async def test_it_stops_before_the_call_that_would_exceed_the_money(
    units: int, made: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench(monkeypatch, prices={"p:first": (1_000_000, 1_000_000)})
    bench.play(first=[said(tokens=(100, 15))])
    assert await calls_within(bench, Budget(money=Money(units=units))) == made


async def test_a_model_that_costs_nothing_needs_no_money(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(monkeypatch)
    bench.play(first=[said()])
    await bench.ask(Budget(money=Money(units=0)))


async def test_money_of_another_asset_buys_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(monkeypatch)
    bench.play(first=[said()])
    with pytest.raises(BudgetExceeded, match="EUR"):
        await bench.ask(Budget(money=Money(units=10**9, asset="EUR")))
    assert bench.asked == []


async def test_calls_under_way_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sixty-four agents that look at the same budget at once must not each spend it."""
    bench = Bench(monkeypatch, model_timeout_s=0.2, model_retries=0)
    bench.scripts["p:first"] = Hanging(script=[])
    outcomes = await asyncio.gather(*(bench.ask(Budget(tokens=350)) for _ in range(10)), return_exceptions=True)
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["BudgetExceeded"] * 7 + ["ModelTimeout"] * 3
    bench.play(first=[said()])
    bench.models = Models(bench.settings, bench.ledger, seeded_ids(2), gate=Open())
    await bench.ask(Budget(tokens=350))


async def test_each_mission_has_its_own_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(monkeypatch)
    bench.play(first=[said(tokens=(100, 15))])
    assert await calls_within(bench, Budget(tokens=120)) == 1
    await bench.ask(Budget(tokens=120), mission="another")


# --- secrets ---------------------------------------------------------------------------------------------------------


async def test_a_providers_message_is_nowhere_in_the_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    """Proves TR-11: providers quote keys and prompts, and a cause is printed with its message."""
    bench = Bench(monkeypatch, model_retries=0)
    bench.play(first=[Http(500)])
    with pytest.raises(ModelFailed) as failed:
        await bench.ask()
    shown = [
        str(failed.value),
        repr(failed.value.as_dict()),
        str(failed.value.__cause__),
        str(failed.value.__context__),
    ]
    assert not any(SECRET in text or "xxxx" in text for text in shown)


# --- choosing --------------------------------------------------------------------------------------------------------


async def test_every_model_that_may_be_asked_is_checked_beforehand(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(monkeypatch, models={"judge": "p:judge"}, model_fallbacks=["p:second"])
    bench.play(first=[said()], judge=[said()])
    with pytest.raises(ModelUnknown, match="p:second"):
        bench.models.check()
    bench.play(second=[said()])
    bench.models.check()
    assert bench.asked == []


async def test_who_waits_for_a_model_leaves_the_seat_to_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """Proves FR-369: both are asked at once, although one seat is all there is."""
    bench, seats, both = Bench(monkeypatch), Seats(1), asyncio.Barrier(2)

    class Meeting(ScriptedModel):
        """A model that answers when it was asked twice."""

        async def _agenerate(self, *args: Any, **kwargs: Any) -> ChatResult:
            await both.wait()
            return self._generate(args[0])

    bench.scripts["p:first"] = Meeting(script=[said()])

    async def work() -> None:
        async with seats.taken():
            await bench.ask()

    async with asyncio.timeout(40), asyncio.TaskGroup() as group:
        group.create_task(work())
        group.create_task(work())
