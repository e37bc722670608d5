"""Model calls under a deadline and a budget: repeated when they fail, then tried on the next model, always counted."""

import asyncio
import json
from collections import Counter
from collections.abc import Awaitable, Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, cast

from pydantic import BaseModel, ValidationError

from chimera.core.clock import SystemClock
from chimera.core.contracts import Usage
from chimera.core.errors import (
    BudgetExceeded,
    ChimeraError,
    ModelAnswerInvalid,
    ModelError,
    ModelFailed,
    ModelTimeout,
)
from chimera.core.ids import NewId
from chimera.core.invalid import first_problem
from chimera.core.money import Money
from chimera.core.seats import away
from chimera.core.settings import ROLES, Settings
from chimera.core.timing import spent
from chimera.models.choose import choose_model
from chimera.models.forms import asked_for, read_form
from chimera.models.gate import Caller, Gate, Sent
from chimera.models.limits import ProviderLimits, is_too_much

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel
    from langchain_core.messages import AIMessage, BaseMessage

Answer = TypeVar("Answer", bound=BaseModel)
BACKOFF_S = 0.25
PATIENT_S = 10.0
"""A pause that a provider asks for is waited out, if it is no longer than this or no other model is left."""
READY_MOST = 200
"""Sets of tools and forms that are remembered, with the model that was told of them."""
ANSWERED_BY = "chimera_model"
"""Key of a message's ``response_metadata``: the model that gave it, which may be a fallback."""

_OUR_FAULT = (TypeError, AttributeError, NameError, NotImplementedError, ImportError, AssertionError)


class Meter(Protocol):
    """Keeps count of what each mission used."""

    async def add(self, call_id: str, mission_id: str, role: str, model: str, usage: Usage) -> None:
        """Count one model call."""
        ...

    async def total(self, mission_id: str) -> Usage:
        """What the mission used so far."""
        ...


class Models:
    """The chat models of each role.

    ``given`` replaces models by role name (``"*"`` for all): how tests and users bring their own objects. Whatever is
    asked passes ``gate`` first, once: neither another try nor another model is another request.
    """

    def __init__(
        self,
        settings: Settings,
        meter: Meter,
        new_id: NewId,
        given: "Mapping[str, BaseChatModel] | None" = None,
        limits: ProviderLimits | None = None,
        *,
        gate: Gate,
    ) -> None:
        self._settings = settings
        self._meter = meter
        self._gate = gate
        self._new_id = new_id
        self._given = dict(given or {})
        self._built: dict[str, BaseChatModel] = {}
        self._ready: dict[tuple[int, object], Any] = {}
        self._limits = limits or ProviderLimits(settings.model_limits, SystemClock())
        self._expected: Counter[str] = Counter()  # tokens of the calls under way, by mission

    def with_settings(self, settings: Settings, meter: Meter) -> "Models":
        """Models by other settings, under the same limits."""
        return Models(settings, meter, self._new_id, self._given, self._limits, gate=self._gate)

    def check(self) -> None:
        """Set up every model that may be asked, and ask none.

        Raises:
            ModelUnknown: a name means nothing, its package is missing, or it lacks its key.
        """
        for role in ROLES:
            for name in self.names(role):
                self._model(role, name)

    async def aclose(self) -> None:
        """Close the connections of the models that were set up here."""
        built, self._built = self._built, {}
        self._ready.clear()
        for model in built.values():
            client = getattr(model, "http_async_client", None)
            if client is not None:
                await client.aclose()

    def names(self, role: str) -> list[str]:
        """The models that may play ``role``: the first choice, then the fallbacks."""
        given = self._given.get(role) or self._given.get("*")
        if given is not None:
            return [_name_of(given)]
        return list(dict.fromkeys([self._settings.model_for(role), *self._settings.model_fallbacks]))

    async def structured(self, caller: Caller, messages: "Sequence[BaseMessage]", form: type[Answer]) -> Answer:
        """Ask for an answer of the given form.

        Raises:
            ModelAnswerInvalid: no model gave an answer of that form.
            ModelFailed: no model answered. BudgetExceeded: the mission may not ask any more.
            GuardRejected: this may not be asked.
        """
        from chimera.models.asking import said_by

        async def ask(model: "BaseChatModel", sent: Sent) -> "tuple[Answer | ModelError, AIMessage]":
            # Its parts one by one: LangChain's chain of them, run as one, costs more than the rest of the call.
            asking, parser = self._prepared(model, form, lambda: asked_for(form, model))
            message = await said_by(asking, sent.messages)
            return read_form(form, parser, message), message

        return await self._try(caller, Sent(messages), ask)

    async def turn(
        self, caller: Caller, messages: "Sequence[BaseMessage]", tools: Sequence[dict[str, Any]]
    ) -> "AIMessage":
        """Ask for the next message of a conversation, with tools in OpenAI's function form.

        Raises:
            ModelFailed: no model answered. BudgetExceeded: the mission may not ask any more.
            GuardRejected: this may not be asked.
        """
        from chimera.models.asking import said_by

        async def ask(model: "BaseChatModel", sent: Sent) -> "tuple[AIMessage, AIMessage]":
            key, offered = json.dumps(sent.tools, sort_keys=True), list(sent.tools)
            asking = self._prepared(model, key, lambda: model.bind_tools(offered)) if offered else model
            message = await said_by(asking, sent.messages)
            return message, message

        return await self._try(caller, Sent(messages, tools), ask)

    def _prepared(self, model: "BaseChatModel", key: object, make: Callable[[], Any]) -> Any:
        """A model that knows which tools or form it is asked with: to tell it takes longer than a short call."""
        place = (id(model), key)
        if place not in self._ready:
            if len(self._ready) >= READY_MOST:
                del self._ready[next(iter(self._ready))]
            self._ready[place] = make()
        return self._ready[place]

    async def _try(
        self,
        caller: Caller,
        asked: Sent,
        ask: "Callable[[BaseChatModel, Sent], Awaitable[tuple[Any, AIMessage]]]",
    ) -> Any:
        failure: ChimeraError = ModelFailed("no model is configured")
        sent = await self._gate.passed(caller, asked)
        expected = _tokens(sent.messages)
        names, time = self.names(caller.role), asyncio.get_running_loop().time
        for name in names:
            model = self._model(caller.role, name)
            attempt = 0
            give_up = time() + self._settings.model_wait_s
            while attempt <= self._settings.model_retries:
                if attempt:
                    await asyncio.sleep(BACKOFF_S * 2 ** (attempt - 1))
                await self._refuse_beyond_budget(caller, name, expected)
                try:
                    async with away():
                        with spent("model"):  # with the wait for a turn under the provider's limits
                            await self._admitted(caller, name, expected, give_up)
                            with self._under_way(caller.mission_id, expected):
                                async with asyncio.timeout(self._settings.model_timeout_s):
                                    answer, message = await ask(model, sent)
                except Exception as error:  # noqa: BLE001 - each integration raises its own kinds; none is fatal to the next model
                    # Not as its cause: providers quote keys and prompts in their messages, and a cause is printed.
                    failure = self._meaning(name, error)
                    if is_too_much(error):  # no failure of the model: who can wait has a turn later
                        pause = await self._limits.refused(name, error)
                        if time() + pause < give_up and (pause <= PATIENT_S or name == names[-1]):
                            continue
                        break
                    if not _worth_repeating(error):
                        break
                    attempt += 1
                    continue
                await self._count(caller, name, message, expected)
                if isinstance(answer, ModelError):
                    failure = answer
                    attempt += 1
                    continue
                message.response_metadata = {**message.response_metadata, ANSWERED_BY: name}
                return answer
        raise failure

    async def _admitted(self, caller: Caller, name: str, expected: int, give_up: float) -> None:
        left = max(give_up - asyncio.get_running_loop().time(), 0.0)
        await self._limits.admit(name, expected, tenant=caller.tenant, priority=caller.priority, within_s=left)

    def _meaning(self, name: str, error: Exception) -> ChimeraError:
        if isinstance(error, ModelError):
            return error
        if isinstance(error, TimeoutError) or "timeout" in type(error).__name__.lower():
            return ModelTimeout(f"{name} did not answer within {self._settings.model_timeout_s:g} s")
        return ModelFailed(f"{name} failed: {_brief(error)}")

    @contextmanager
    def _under_way(self, mission_id: str, tokens: int) -> Generator[None]:
        self._expected[mission_id] += tokens
        try:
            yield
        finally:
            self._expected[mission_id] -= tokens
            if self._expected[mission_id] <= 0:
                del self._expected[mission_id]

    def _model(self, role: str, name: str) -> "BaseChatModel":
        given = self._given.get(role) or self._given.get("*")
        if given is not None:
            return given
        if name not in self._built:
            self._built[name] = choose_model(name, self._settings)
        return self._built[name]

    async def _refuse_beyond_budget(self, caller: Caller, name: str, expected: int) -> None:
        """Refuse a call that would exceed the budget already by what it sends, together with the calls under way."""
        used = await self._meter.total(caller.mission_id)
        most, wanted = self._settings.max_tokens, caller.budget.tokens
        limit = most if wanted is None else min(wanted, most)
        tokens = used.tokens_in + used.tokens_out
        coming = self._expected[caller.mission_id] + expected
        if tokens + max(coming, 1) > limit:
            raise BudgetExceeded(f"{tokens} of {limit} tokens are used, the next call needs about {expected}")
        money = caller.budget.money
        if money is None:
            return
        if money.asset != used.cost.asset:
            raise BudgetExceeded(f"the budget is in {money.asset}, the prices are in {used.cost.asset}")
        price = self._settings.prices.get(name, (0, 0))
        if any(price) and used.cost.units + max(_cost(price, coming, 0), 1) > money.units:
            raise BudgetExceeded(f"{used.cost} of {money} is used, and the next call costs more than is left")

    async def _count(self, caller: Caller, name: str, message: "AIMessage", expected: int) -> None:
        reported = message.usage_metadata
        tokens_in = max(reported["input_tokens"], 0) if reported else expected
        tokens_out = max(reported["output_tokens"], 0) if reported else _tokens([message])
        cost = _cost(self._settings.prices.get(name, (0, 0)), tokens_in, tokens_out)
        usage = Usage(calls=1, tokens_in=tokens_in, tokens_out=tokens_out, cost=Money(units=cost))
        await self._limits.settle(name, expected, tokens_in + tokens_out)
        await self._meter.add(self._new_id(), caller.mission_id, caller.role, name, usage)


def _tokens(messages: "Sequence[BaseMessage]") -> int:
    """About how many tokens a conversation has.

    Up to the last answer that a model counted, what it counted; the rest by the rule that four characters are one.
    """
    counted, after = 0, list(messages)
    for place, part in enumerate(messages):
        usage = cast("dict[str, int] | None", getattr(part, "usage_metadata", None))
        if usage and len(messages) > 1:
            counted, after = max(usage["total_tokens"], 0), list(messages[place + 1 :])
    texts = (len(str(part.content)) + len(str(getattr(part, "tool_calls", None) or "")) for part in after)
    return counted + sum(texts) // 4


def _cost(price: tuple[int, int], tokens_in: int, tokens_out: int) -> int:
    """Atomic units, rounded up: a budget must not leak by rounding."""
    return -(-(tokens_in * price[0] + tokens_out * price[1]) // 1_000_000)


def _name_of(model: "BaseChatModel") -> str:
    return str(getattr(model, "model_name", None) or getattr(model, "model", None) or type(model).__name__)


def _worth_repeating(error: Exception) -> bool:
    if isinstance(error, ModelError):
        return error.retryable and not isinstance(error, ModelAnswerInvalid)
    status = getattr(error, "status_code", None)
    if isinstance(status, int):
        return status < 400 or status in (408, 409, 425, 429) or status >= 500  # below 400: an answer that is none
    return not isinstance(error, _OUR_FAULT)


def _brief(error: BaseException) -> str:
    """What failed, without the message: providers quote keys and prompts in theirs."""
    if isinstance(error, ValidationError):
        return first_problem(error)
    status = getattr(error, "status_code", None)
    return f"{type(error).__name__}{f' (HTTP {status})' if isinstance(status, int) else ''}"
