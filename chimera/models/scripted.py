"""A chat model that plays a script: for tests, and named as such wherever it appears."""

from collections.abc import Callable, Sequence
from typing import Any

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.runnables import Runnable
from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import PrivateAttr

Line = AIMessage | Exception | Callable[[Sequence[BaseMessage], Sequence[str]], AIMessage]


class ScriptedModel(BaseChatModel):
    """Answers with the lines of a script, in order; the last one is repeated.

    A line is a message, an exception to raise, or a function of (messages, names of the tools offered).
    """

    script: list[Any]
    _next: int = PrivateAttr(default=0)

    @property
    def _llm_type(self) -> str:
        return "scripted"

    @property
    def model_name(self) -> str:
        """The name under which its use is recorded."""
        return "scripted"

    def bind_tools(
        self, tools: Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool], **kwargs: Any
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """Offer tools to the script."""
        return self.bind(tools=[convert_to_openai_tool(tool) for tool in tools])

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        line: Line = self.script[min(self._next, len(self.script) - 1)]
        self._next += 1
        if isinstance(line, Exception):
            raise line
        if not isinstance(line, AIMessage):
            line = line(messages, [tool["function"]["name"] for tool in kwargs.get("tools", [])])
        return ChatResult(generations=[ChatGeneration(message=line)])
