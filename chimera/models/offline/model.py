"""The rules as a LangChain chat model: the same calls as any other model, so nothing else knows the difference."""

import json
from collections.abc import Callable, Sequence
from typing import Any

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.runnables import Runnable
from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_openai_tool

from chimera.core.errors import ModelAnswerInvalid
from chimera.core.spotlight import read
from chimera.models.offline.judging import judge
from chimera.models.offline.planning import plan, split
from chimera.models.offline.replying import reply
from chimera.models.offline.working import work

_FORMS: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "Split": split,
    "Plan": plan,
    "Opinion": judge,
    "Reply": reply,
}


class OfflineModel(BaseChatModel):
    """Rules that answer the requests of Chimera's own roles, and nothing else.

    The request is the first human message, with the data between its marks. A form to fill arrives as a single tool
    with a forced choice, as for other models. Token counts are the rule "four characters are a token".
    """

    @property
    def _llm_type(self) -> str:
        return "offline-rules"

    @property
    def model_name(self) -> str:
        """The name under which results show who made them."""
        return "offline"

    def bind_tools(
        self,
        tools: Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool],
        *,
        tool_choice: str | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """Offer tools, or with ``tool_choice`` a form to fill."""
        return self.bind(tools=[convert_to_openai_tool(tool) for tool in tools], tool_choice=tool_choice)

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        request = _request(messages)
        offered: list[dict[str, Any]] = [tool["function"] for tool in kwargs.get("tools") or []]
        if kwargs.get("tool_choice"):
            name = offered[0]["name"]
            if name not in _FORMS:
                raise ModelAnswerInvalid(f"the offline rules cannot fill a {name}")
            call = {"name": name, "args": _FORMS[name](request), "id": f"form-{name}", "type": "tool_call"}
            message = AIMessage(content="", tool_calls=[call])
        else:
            message = work(request, messages, offered)
        read = sum(len(str(part.content)) for part in messages) // 4
        written = (len(str(message.content)) + len(json.dumps(message.tool_calls))) // 4
        message.usage_metadata = {"input_tokens": read, "output_tokens": written, "total_tokens": read + written}
        return ChatResult(generations=[ChatGeneration(message=message)])


def _request(messages: Sequence[BaseMessage]) -> dict[str, Any]:
    first = next((part for part in messages if isinstance(part, HumanMessage)), None)
    try:
        request = read(first.content) if first else None
    except ValueError:
        request = None
    if request is None:
        raise ModelAnswerInvalid(
            "the offline rules read only the requests of Chimera's own roles",
            remedy="Set CHIMERA_MODEL to a chat model to talk to.",
        )
    return request
