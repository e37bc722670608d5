"""Answers of a given form: how a model is asked for one, and how its message is read."""

from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, ValidationError

from chimera.core.errors import ModelAnswerInvalid, ModelFailed
from chimera.core.invalid import first_problem

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel
    from langchain_core.messages import AIMessage
    from langchain_core.output_parsers import BaseLLMOutputParser
    from langchain_core.runnables import Runnable

Form = TypeVar("Form", bound=BaseModel)


def asked_for(
    form: type[BaseModel], model: "BaseChatModel"
) -> "tuple[Runnable[Any, AIMessage], BaseLLMOutputParser[Any]]":
    """A model that is told to answer in a form, and what reads its messages; both as its integration makes them.

    Raises:
        ModelFailed: the integration makes something else than a model and a parser.
    """
    from langchain_core.output_parsers import BaseLLMOutputParser

    chain = model.with_structured_output(form, method="function_calling")
    match getattr(chain, "steps", None):
        case [asking, BaseLLMOutputParser() as parser]:
            return asking, parser
        case _:
            raise ModelFailed(f"{type(model).__name__} cannot be asked for an answer of a form")


def read_form(form: type[Form], parser: "BaseLLMOutputParser[Any]", message: "AIMessage") -> Form | ModelAnswerInvalid:
    """The answer in a message, or what is wrong with it."""
    from langchain_core.outputs import ChatGeneration

    try:
        found = parser.parse_result([ChatGeneration(message=message)])
    except ValidationError as error:
        return ModelAnswerInvalid(f"the answer is no {form.__name__}: {first_problem(error)}")
    except (ValueError, TypeError, KeyError) as error:
        return ModelAnswerInvalid(f"the answer is no {form.__name__}: {type(error).__name__}")
    return found if isinstance(found, form) else ModelAnswerInvalid(f"the answer is no {form.__name__}: empty")
