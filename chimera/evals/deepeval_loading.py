"""The only door to deepeval: loaded when it is needed, silent, and without leaving a trace in the working folder."""

import importlib
import os
from types import ModuleType

from chimera.core.errors import ExtraMissing

# Read by deepeval while it is imported. Without them it sends telemetry, and reads and writes in the working folder.
QUIET = {
    "DEEPEVAL_TELEMETRY_OPT_OUT": "YES",
    "DEEPEVAL_UPDATE_WARNING_OPT_IN": "NO",
    "DEEPEVAL_DISABLE_DOTENV": "1",
    "DEEPEVAL_DISABLE_LEGACY_KEYFILE": "1",
    "ERROR_REPORTING": "NO",
    "CONFIDENT_TRACING_ENABLED": "NO",
}


def load(module: str) -> ModuleType:
    """Import a module of this package that needs deepeval, such as ``deepeval_metrics``.

    Raises:
        ExtraMissing: the extra ``evals`` is not installed.
    """
    os.environ.update(QUIET)
    try:
        return importlib.import_module(f"chimera.evals.{module}")
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "deepeval":
            raise
        raise ExtraMissing(
            "the full evaluation needs deepeval",
            remedy="Install it with `pip install 'chimera-swarm[evals]'`, or evaluate with --quick.",
        ) from None
