"""The simulated model, in process or over HTTP: it asks for a search, answers, and judges, each after its time."""

import asyncio
import json
import random
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun
from langchain_core.messages import AIMessage, BaseMessage, ToolCall, ToolMessage
from langchain_core.messages.ai import UsageMetadata
from langchain_core.outputs import ChatGeneration, ChatResult
from pydantic import PrivateAttr

from chimera.models.scripted import ScriptedModel

CALLS = 3
"""Model calls of one run: two turns of the agent, and the judge's opinion."""
CRITERION = "the answer says what was found"
SUBJECT = "orders and prices"
ANSWER = "The notes of this week speak of orders and prices."
OPINION: dict[str, Any] = {
    "checks": [{"criterion": CRITERION, "passed": True, "why": "it does"}],
    "confidence": 0.95,
}
TOKENS = (400, 60)
"""In and out, as every call reports."""
SIGMA = 0.4
_RUN = re.compile(r"run-[\w-]*\w")


@dataclass(frozen=True)
class Latencies:
    """How long each call takes: a log-normal time with this median and a heavy tail; a median of 0 takes none.

    It depends on nothing but the seed, the run and the call, so whoever serves and whoever measures agree on it.
    """

    median_s: float
    seed: int

    def of(self, run: str, call: int) -> float:
        """Seconds that a call of a run takes."""
        if not self.median_s:
            return 0.0
        return self.median_s * random.Random(f"{self.seed}/{run}/{call}").lognormvariate(0.0, SIGMA)

    def total(self, run: str, calls: int = CALLS) -> float:
        """Seconds that the first calls of a run take; without the last one, nobody judges it."""
        return sum(self.of(run, call) for call in range(calls))


def call_of(offered: Iterable[str], has_result: bool) -> int:
    """Which call of a run this is, by what it offers and what it has: 0 searches, 1 answers, 2 judges."""
    return 2 if "Opinion" in offered else int(has_result)


def run_of(text: str) -> str:
    """The name of the run that a request is about."""
    found = _RUN.search(text)
    return found[0] if found else ""


class SlowModel(ScriptedModel):
    """The model in process: it is told what to say, and takes its time."""

    _latencies: Latencies = PrivateAttr(default=Latencies(0.0, 0))
    _began: list[float] = PrivateAttr(default_factory=list[float])

    @property
    def began(self) -> list[float]:
        """When each run asked for the first time, by the clock of the event loop."""
        return self._began

    def slow(self, latencies: Latencies) -> "SlowModel":
        """Take so long from now on."""
        self._latencies = latencies
        return self

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        offered = [tool["function"]["name"] for tool in kwargs.get("tools", [])]
        call = call_of(offered, any(isinstance(message, ToolMessage) for message in messages))
        run = run_of(str(messages[1].content))
        if call == 0:
            self._began.append(asyncio.get_running_loop().time())
        await asyncio.sleep(self._latencies.of(run, call))
        return ChatResult(generations=[ChatGeneration(message=_said(call, run, offered))])


def called(call: int, run: str, offered: Sequence[str]) -> tuple[str, dict[str, Any]]:
    """The tool, or the form, that a call asks for, with its arguments."""
    if call == 2:
        return "Opinion", OPINION
    if offered[0].endswith("write_artifact"):
        return offered[0], {"name": f"{run}.md", "content": SUBJECT}
    return offered[0], {"text": SUBJECT}


def _said(call: int, run: str, offered: Sequence[str]) -> AIMessage:
    usage = UsageMetadata(input_tokens=TOKENS[0], output_tokens=TOKENS[1], total_tokens=sum(TOKENS))
    if call == 1 or not offered:
        return AIMessage(ANSWER, usage_metadata=usage)
    name, arguments = called(call, run, offered)
    return AIMessage("", tool_calls=[ToolCall(name=name, args=arguments, id=f"call-{call}")], usage_metadata=usage)


def as_openai(call: int, run: str, offered: Sequence[str]) -> dict[str, Any]:
    """The same as the message of an OpenAI-compatible answer."""
    if call == 1 or not offered:
        return {"role": "assistant", "content": ANSWER}
    name, arguments = called(call, run, offered)
    function = {"name": name, "arguments": json.dumps(arguments)}
    return {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": f"call-{call}", "type": "function", "function": function}],
    }
