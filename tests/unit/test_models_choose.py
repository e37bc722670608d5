"""From a name to a chat model: any of LangChain's, the rules, or CH401. Proves FR-45 and FR-71."""

import sys
import traceback
from typing import Any

import pytest

from chimera.core.errors import ModelUnknown
from chimera.core.settings import Settings
from chimera.models.choose import choose_model

KEY = "sk-canary-77aa"


def settings(**given: Any) -> Settings:
    return Settings.model_validate(given)


def refused(name: str, **given: Any) -> ModelUnknown:
    with pytest.raises(ModelUnknown) as error:
        choose_model(name, settings(**given))
    assert error.value.code == "CH401"
    return error.value


def test_offline_is_the_rules() -> None:
    assert choose_model("offline", settings())._llm_type == "offline-rules"  # pyright: ignore[reportPrivateUsage]


@pytest.mark.parametrize(
    "name", ["", " ", "nonsense", "gpt-5-but-wrong", "nobody:model", "openai:", ":", "OFFLINE", "offline:x"]
)
def test_a_name_that_means_nothing_is_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    refused(name)


def test_a_model_whose_package_is_missing_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("langchain_anthropic")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "langchain_anthropic", None)
    assert "needs a package that is not installed" in refused("anthropic:claude-sonnet-5").message


def test_a_model_without_its_key_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    assert "cannot be set up" in refused("openai:test-model").message


def test_an_openai_compatible_server_is_named_by_its_url() -> None:
    model = choose_model(
        "openai:test-model",
        settings(model_base_url="http://127.0.0.1:1/v1", model_api_key=KEY, model_timeout_s=7),
    )
    from langchain_openai import ChatOpenAI  # takes a second, which no other process that collects tests has to wait

    assert isinstance(model, ChatOpenAI)
    assert (model.model_name, str(model.openai_api_base)) == ("test-model", "http://127.0.0.1:1/v1")
    assert model.request_timeout == 7
    assert model.max_retries == 0, "we repeat, and count it"
    assert KEY not in repr(model)


def test_what_cannot_be_set_up_does_not_show_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """An integration's own error may show all its options; ours shows none, and neither does its traceback."""

    def broken(name: str, **options: Any) -> Any:
        raise ValueError(f"bad options for {name}: {options}")

    monkeypatch.setattr("langchain.chat_models.init_chat_model", broken)
    error = refused("openai:test-model", model_api_key=KEY)
    assert KEY not in "".join(traceback.format_exception(error))
