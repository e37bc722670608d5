"""The import of guardrails-ai, when it is needed and without a word to anybody.

By default the library reports every validation to its maker. Here its metrics are off whatever ``~/.guardrailsrc``
says, its exporter is stopped, and a Guard validates in the thread that asks it to.
"""

import contextlib
import os
import threading
import warnings
from collections.abc import Generator
from typing import Any

_lock = threading.Lock()
_state: dict[str, bool] = {}


def load_guardrails() -> None:
    """Import guardrails-ai. It takes seconds the first time: call it in a thread."""
    with _lock:
        if not _state.get("loaded"):
            # Its loop for synchronous validators needs the main thread, and may change the policy of all loops.
            os.environ.setdefault("GUARDRAILS_RUN_SYNC", "true")
            with _no_exporter(), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of the library's own dependencies, about each other
                _silence()
            _state["loaded"] = True


def _silence() -> None:
    from guardrails.classes import rc
    from guardrails.settings import settings
    from guardrails.utils.hub_telemetry_utils import HubTelemetry

    kind: Any = rc.RC
    original: Any = kind.load

    def load(logger: Any = None) -> Any:
        """The settings of the user's file, but never with metrics. Every Guard reads them again when it is made."""
        found = original(logger)
        found.enable_metrics = False
        return found

    kind.load = load
    settings.rc = kind.load()
    settings.disable_tracing = True  # a trace would hold the texts, and the secrets in them
    telemetry: Any = HubTelemetry(enabled=False)
    telemetry._enabled = False
    if telemetry._processor is not None:
        telemetry._processor.shutdown()


@contextlib.contextmanager
def _no_exporter() -> Generator[None]:
    """While the library makes its exporter, OpenTelemetry is off; the program's own use of it is not touched."""
    before = os.environ.get("OTEL_SDK_DISABLED")
    os.environ["OTEL_SDK_DISABLED"] = "true"
    try:
        yield
    finally:
        if before is None:
            del os.environ["OTEL_SDK_DISABLED"]
        else:
            os.environ["OTEL_SDK_DISABLED"] = before
