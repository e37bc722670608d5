"""An opinion by a model on whether the answer serves the goal. Never faked: without a real model it is skipped.

Import it through :func:`chimera.evals.deepeval_loading.load`. Opinions are shown beside the scores and decide nothing,
because a judge of unknown quality must not.
"""

import asyncio
from typing import Any

from deepeval.metrics import GEval
from deepeval.models import DeepEvalBaseLLM
from deepeval.test_case import SingleTurnParams
from langchain_core.language_models import BaseChatModel
from pydantic import BaseModel

from chimera.core.errors import ModelAnswerInvalid
from chimera.evals.deepeval_metrics import as_test_case
from chimera.evals.metrics import Score
from chimera.evals.record import Record

NAME = "serves the goal"
THRESHOLD = 0.5
_STEPS = [
    "Read the goal in the input and list what it asks for.",
    "Check that the actual output does each of these things, or says openly which of them it does not.",
    "Check every statement of the actual output against the retrieval context. What is not in there is wrong.",
    "Give a high score only if the output serves the goal and states nothing that the context does not show.",
]


class ChatJudge(DeepEvalBaseLLM):
    """A LangChain chat model as deepeval's judge, with a deadline for every call."""

    def __init__(self, chat: BaseChatModel, name: str, timeout_s: float) -> None:
        self._chat = chat
        self._timeout_s = timeout_s
        super().__init__(name)

    def load_model(self, *args: Any, **kwargs: Any) -> Any:
        """The chat model."""
        return self._chat

    def generate(self, *args: Any, **kwargs: Any) -> Any:
        """Ask, from synchronous code."""
        return asyncio.run(self.a_generate(*args, **kwargs))

    async def a_generate(self, prompt: str, schema: type[BaseModel] | None = None, **kwargs: Any) -> Any:
        """Ask for text, or for an answer of the form ``schema``.

        Raises:
            ModelAnswerInvalid: the answer is not of that form.
        """
        async with asyncio.timeout(self._timeout_s):
            if schema is None:
                return str((await self._chat.ainvoke(prompt)).text)
            answer = await self._chat.with_structured_output(schema, method="function_calling").ainvoke(prompt)
        if not isinstance(answer, schema):
            raise ModelAnswerInvalid(f"the judge gave no {schema.__name__}")
        return answer

    def get_model_name(self, *args: Any, **kwargs: Any) -> str:
        """The name of the model that judges."""
        return str(self.name)


async def opinion(record: Record, judge: ChatJudge) -> Score:
    """What the judge thinks of one record.

    Raises:
        ModelAnswerInvalid: its score is not between 0 and 1.
    """
    metric = GEval(
        name=NAME,
        evaluation_params=[
            SingleTurnParams.INPUT,
            SingleTurnParams.ACTUAL_OUTPUT,
            SingleTurnParams.RETRIEVAL_CONTEXT,
        ],
        evaluation_steps=_STEPS,
        model=judge,
        threshold=THRESHOLD,
    )
    value = float(await metric.a_measure(as_test_case(record), _show_indicator=False))
    if not 0.0 <= value <= 1.0:  # deepeval passes on whatever the judge says
        raise ModelAnswerInvalid(f"the judge gave {value:g}, outside of 0 to 1")
    return Score(value, value >= THRESHOLD, str(metric.reason or ""))
