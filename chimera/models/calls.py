"""Model calls under a deadline and a budget: repeated when they fail, then tried on the next model, always counted."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, cast

from pydantic import BaseModel, ValidationError

from chimera.core.contracts import Budget, Usage
from chimera.core.errors import (
    BudgetExceeded,
    ChimeraError,
    ModelAnswerInvalid,
    ModelError,
    ModelFailed,
    ModelTimeout,
)
from chimera.core.ids import NewId
from chimera.core.money import Money
from chimera.core.settings import Settings
from chimera.models.choose import choose_model

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel
    from langchain_core.messages import AIMessage, BaseMessage

Answer = TypeVar("Answer", bound=BaseModel)
BACKOFF_S = 0.25


class Meter(Protocol):
    """Keeps count of what each mission used."""

    async def add(self, call_id: str, mission_id: str, role: str, model: str, usage: Usage) -> None:
        """Count one model call."""
        ...

    async def total(self, mission_id: str) -> Usage:
        """What the mission used so far."""
        ...


@dataclass(frozen=True)
class Caller:
    """On whose account a model is called."""

    mission_id: str
    role: str
    budget: Budget


class Models:
    """The chat models of each role.

    ``given`` replaces models by role name (``"*"`` for all): how tests and users bring their own objects.
    """

    def __init__(
        self,
        settings: Settings,
        meter: Meter,
        new_id: NewId,
        given: "Mapping[str, BaseChatModel] | None" = None,
    ) -> None:
        self._settings = settings
        self._meter = meter
        self._new_id = new_id
        self._given = dict(given or {})
        self._built: dict[str, BaseChatModel] = {}

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
        """

        async def ask(model: "BaseChatModel") -> "tuple[Answer, AIMessage]":
            asking = model.with_structured_output(form, method="function_calling", include_raw=True)
            got = cast("dict[str, Any]", await asking.ainvoke(list(messages)))
            if not isinstance(got["parsed"], form):
                why = got["parsing_error"]
                raise ModelAnswerInvalid(f"the answer is no {form.__name__}: {_brief(why) if why else 'empty'}")
            return got["parsed"], got["raw"]

        return await self._try(caller, ask)

    async def turn(
        self, caller: Caller, messages: "Sequence[BaseMessage]", tools: Sequence[dict[str, Any]]
    ) -> "AIMessage":
        """Ask for the next message of a conversation, with tools in OpenAI's function form.

        Raises:
            ModelFailed: no model answered. BudgetExceeded: the mission may not ask any more.
        """

        async def ask(model: "BaseChatModel") -> "tuple[AIMessage, AIMessage]":
            asking = model.bind_tools(list(tools)) if tools else model
            message = await asking.ainvoke(list(messages))
            return message, message

        return await self._try(caller, ask)

    async def _try(self, caller: Caller, ask: "Callable[[BaseChatModel], Awaitable[tuple[Any, AIMessage]]]") -> Any:
        failure: ChimeraError = ModelFailed("no model is configured")
        for name in self.names(caller.role):
            model = self._model(caller.role, name)
            for attempt in range(self._settings.model_retries + 1):
                await self._refuse_beyond_budget(caller)
                try:
                    async with asyncio.timeout(self._settings.model_timeout_s):
                        answer, message = await ask(model)
                except TimeoutError:
                    failure = ModelTimeout(f"{name} did not answer within {self._settings.model_timeout_s:g} s")
                except ModelError as error:
                    failure = error
                except Exception as error:  # noqa: BLE001 - each integration raises its own kinds; none is fatal to the next model
                    failure = ModelFailed(f"{name} failed: {_brief(error)}")
                    failure.__cause__ = error
                    if not _worth_repeating(error):
                        break
                else:
                    await self._count(caller, name, message)
                    return answer
                await asyncio.sleep(BACKOFF_S * 2**attempt)
        raise failure

    def _model(self, role: str, name: str) -> "BaseChatModel":
        given = self._given.get(role) or self._given.get("*")
        if given is not None:
            return given
        if name not in self._built:
            self._built[name] = choose_model(name, self._settings)
        return self._built[name]

    async def _refuse_beyond_budget(self, caller: Caller) -> None:
        used = await self._meter.total(caller.mission_id)
        tokens = min(caller.budget.tokens or self._settings.max_tokens, self._settings.max_tokens)
        if caller.budget.tokens == 0 or used.tokens_in + used.tokens_out >= tokens:
            raise BudgetExceeded(
                f"{used.tokens_in + used.tokens_out} of {caller.budget.tokens or tokens} tokens are used"
            )
        money = caller.budget.money
        if money is not None and money.asset != used.cost.asset:
            raise BudgetExceeded(f"the budget is in {money.asset}, the prices are in {used.cost.asset}")
        if money is not None and used.cost.units and used.cost.units >= money.units:
            raise BudgetExceeded(f"{used.cost} of {money} is used")

    async def _count(self, caller: Caller, name: str, message: "AIMessage") -> None:
        reported = message.usage_metadata
        tokens_in = reported["input_tokens"] if reported else 0
        tokens_out = reported["output_tokens"] if reported else len(str(message.content)) // 4
        price_in, price_out = self._settings.prices.get(name, (0, 0))
        millionths = tokens_in * price_in + tokens_out * price_out
        usage = Usage(
            calls=1,
            tokens_in=tokens_in,
            tokens_out=tokens_out,
            cost=Money(units=-(-millionths // 1_000_000)),  # rounded up: a budget must not leak by rounding
        )
        await self._meter.add(self._new_id(), caller.mission_id, caller.role, name, usage)


def _name_of(model: "BaseChatModel") -> str:
    return str(getattr(model, "model_name", None) or getattr(model, "model", None) or type(model).__name__)


def _worth_repeating(error: Exception) -> bool:
    status = getattr(error, "status_code", None)
    return not isinstance(status, int) or status in (408, 409, 429) or status >= 500


def _brief(error: BaseException) -> str:
    """What failed, without the message: providers quote keys and prompts in theirs."""
    if isinstance(error, ValidationError):
        first = error.errors(include_input=False)[0]
        return f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}"
    status = getattr(error, "status_code", None)
    return f"{type(error).__name__}{f' (HTTP {status})' if isinstance(status, int) else ''}"
