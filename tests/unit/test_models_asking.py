"""A model is asked the short way where nobody listens, and as LangChain does it where somebody does. Proves FR-370."""

from typing import Any

import pytest
from langchain_core.caches import InMemoryCache
from langchain_core.callbacks import AsyncCallbackHandler, AsyncCallbackManagerForLLMRun
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_core.outputs import ChatResult
from langchain_core.runnables.config import var_child_runnable_config

from chimera.core.contracts import Split
from chimera.models.asking import said_by
from chimera.models.scripted import ScriptedModel

ASKED = [HumanMessage("what?")]
TOOL: dict[str, Any] = {"type": "function", "function": {"name": "look", "description": "", "parameters": {}}}


class Noting(ScriptedModel):
    """Notes what it is asked with, and whether LangChain manages the call."""

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        self.script.append((stop, run_manager is not None, kwargs))
        return self._generate(messages, stop)


class Listener(AsyncCallbackHandler):
    """Counts what it is told of."""

    def __init__(self) -> None:
        self.told: list[str] = []

    async def on_chat_model_start(self, *_: Any, **__: Any) -> None:
        self.told.append("start")

    async def on_llm_end(self, *_: Any, **__: Any) -> None:
        self.told.append("end")


def noting(**fields: Any) -> Noting:
    return Noting(script=[AIMessage("yes", response_metadata={"own": 1})], **fields)


@pytest.mark.parametrize("bound", ["nothing", "tools", "a form", "a stop"])
async def test_the_short_way_asks_and_answers_as_langchain_does(bound: str) -> None:
    asked: list[Any] = []
    for short in (True, False):
        model = noting()
        form: Any = model.with_structured_output(Split, method="function_calling")
        ways = {
            "nothing": model,
            "tools": model.bind_tools([TOOL]),
            "a form": form.steps[0],
            "a stop": model.bind(stop=["."]),
        }
        asking = ways[bound]
        message = await (said_by(asking, ASKED) if short else asking.ainvoke(ASKED))
        stop, managed, kwargs = model.script[1]
        assert managed is not short
        asked.append((stop, kwargs, message.model_copy(update={"id": None})))
    assert asked[0] == asked[1]


async def test_whoever_listens_is_told() -> None:
    own, inherited = Listener(), Listener()
    await said_by(noting(callbacks=[own]), ASKED)
    token = var_child_runnable_config.set({"callbacks": [inherited]})
    try:
        await said_by(noting().bind_tools([TOOL]), ASKED)
    finally:
        var_child_runnable_config.reset(token)
    assert own.told == inherited.told == ["start", "end"]


async def test_a_tracer_of_the_process_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("langchain_core.globals._debug", True)
    await said_by(noting(), ASKED)
    assert "[llm/start]" in capsys.readouterr().out


async def test_a_model_with_a_cache_answers_from_it() -> None:
    model = noting(cache=InMemoryCache())
    assert (await said_by(model, ASKED)).text == (await said_by(model, ASKED)).text == "yes"
    assert len(model.script) == 2, "asked once"


async def test_a_model_with_a_way_of_its_own_is_asked_in_it() -> None:
    class Own(Noting):
        async def ainvoke(self, *_: Any, **__: Any) -> AIMessage:
            return AIMessage("mine")

    assert (await said_by(Own(script=[]), ASKED)).text == "mine"
    assert (await said_by(Own(script=[]).bind_tools([TOOL]), ASKED)).text == "mine"
    assert (await said_by(noting().with_config(tags=["t"]), ASKED)).text == "yes"
