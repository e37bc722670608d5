"""From a model's name to a chat model."""

from typing import TYPE_CHECKING, Any

from chimera.core.errors import ModelUnknown
from chimera.core.plugins import MODELS, plugins
from chimera.core.settings import Settings
from chimera.models.transport import pooled_client

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

OFFLINE = "offline"


def choose_model(name: str, settings: Settings) -> "BaseChatModel":
    """The chat model called ``name``: ``offline``, or a plug-in's, or ``provider:model`` of any LangChain integration.

    A model with an ``http_async_client`` has it for itself; whoever asked for the model closes it.

    Raises:
        ConfigError: the plug-in is broken.
        ModelUnknown: no such provider, its package is missing, or it lacks its key.
    """
    if name == OFFLINE:
        from chimera.models.offline.model import OfflineModel  # lazy: LangChain is dear to import

        return OfflineModel()
    plugged_in = next((found for found in plugins(MODELS) if found.name == name), None)
    if plugged_in is not None:
        from langchain_core.language_models import BaseChatModel

        return plugged_in.make(settings, BaseChatModel)
    if not name.strip():
        raise ModelUnknown("the name of a model is empty")  # LangChain would take it for "to be named later"
    from langchain.chat_models import init_chat_model

    options: dict[str, Any] = {"timeout": settings.model_timeout_s, "max_retries": 0}  # we retry, and count it
    if settings.model_base_url:
        options["base_url"] = settings.model_base_url
    if settings.model_api_key:
        options["api_key"] = settings.model_api_key.get_secret_value()
    if name.startswith("openai:"):
        options["http_async_client"] = pooled_client()
    try:
        return init_chat_model(name, configurable_fields=None, **options)
    except ImportError as error:
        raise ModelUnknown(f"model {name!r} needs a package that is not installed: {error.name or 'unknown'}") from None
    except Exception as error:  # noqa: BLE001 - each integration raises what it likes, e.g. for a missing key
        # Not as its cause: such an error may show all options, the key among them.
        raise ModelUnknown(f"model {name!r} cannot be set up: {type(error).__name__}") from None
