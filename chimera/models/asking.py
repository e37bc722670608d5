"""Asking a chat model for one message.

LangChain tells callbacks and tracers about each call, and prepares for them also where there are none. Where nobody
listens, the model is asked in the step behind that: with its cache, its rate limiter, its way of streaming and its
metadata all the same.
"""

from collections.abc import Sequence
from typing import Any

from langchain_core.callbacks import AsyncCallbackManager
from langchain_core.language_models import BaseChatModel
from langchain_core.language_models._utils import _normalize_messages  # pyright: ignore[reportPrivateUsage]
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.runnables import Runnable
from langchain_core.runnables.base import RunnableBinding
from langchain_core.runnables.config import ensure_config

_STEPS = ("ainvoke", "agenerate_prompt", "agenerate", "_agenerate_with_cache", "_convert_input")
"""What is left out, or used, and has to be LangChain's own."""
_FOR_TRACERS = {"ls_structured_output_format", "structured_output_format"}
_FOR_CALLBACKS = {"callbacks", "tags", "metadata", "run_name", "run_id"}


async def said_by(asking: Runnable[Any, Any], messages: Sequence[BaseMessage]) -> AIMessage:
    """The answer of a model, or of one that is bound to tools or a form.

    Raises:
        Exception: what the model raises.
    """
    model, bound = _model_of(asking)
    if model is None or _is_heard(model):
        return await asking.ainvoke(list(messages))
    found = await model._agenerate_with_cache(_normalize_messages(messages), **bound)  # pyright: ignore[reportPrivateUsage]
    message = found.generations[0].message
    if not isinstance(message, AIMessage):
        raise TypeError(f"{type(model).__name__} answered with a message of another role")
    return message


def _model_of(asking: Runnable[Any, Any]) -> tuple[BaseChatModel | None, dict[str, Any]]:
    """The model to be asked, with what it is bound to; none where it is asked in a way of its own."""
    bound: dict[str, Any] = {}
    if isinstance(asking, RunnableBinding) and not (asking.config or asking.config_factories):
        if type(asking).ainvoke is not RunnableBinding.ainvoke:
            return None, {}
        bound = {key: value for key, value in asking.kwargs.items() if key not in _FOR_TRACERS}
        asking = asking.bound
    if not isinstance(asking, BaseChatModel) or not _FOR_CALLBACKS.isdisjoint(bound):
        return None, {}
    own = all(getattr(type(asking), name) is getattr(BaseChatModel, name) for name in _STEPS)
    return (asking, bound) if own else (None, {})


def _is_heard(model: BaseChatModel) -> bool:
    """Whether a callback or a tracer is to be told: of the run, of the model, or of the process."""
    return bool(
        AsyncCallbackManager.configure(ensure_config().get("callbacks"), model.callbacks, model.verbose).handlers
    )
