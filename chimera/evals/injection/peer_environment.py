"""An environment for each set of packages that other detectors need: made with uv, once, beside the data of Chimera."""

import hashlib
import os
import shutil
import subprocess
import sys
import uuid
from collections.abc import Sequence
from pathlib import Path

from chimera.core.errors import ConfigError

INSTALL_S = 600.0
"""Seconds for one step of an installation."""


def environment(packages: Sequence[str], folder: Path) -> Path:
    """The Python of an environment with exactly these packages, each as uv takes it; made when it is not there yet.

    Raises:
        ConfigError: uv is not there, or a package cannot be installed.
    """
    named = "\n".join([sys.version, *sorted(packages)])
    place = folder / hashlib.sha256(named.encode()).hexdigest()[:16]
    python = place / "bin" / "python"
    if python.exists():
        return python
    making = folder / f"{place.name}.{uuid.uuid4().hex[:8]}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _uv("venv", "--python", sys.executable, str(making))
        _uv("pip", "install", "--no-deps", "--python", str(making / "bin" / "python"), *packages)
        if not place.exists():
            making.rename(place)
    except OSError as error:
        raise ConfigError(f"no environment can be made: {type(error).__name__}") from error
    finally:
        shutil.rmtree(making, ignore_errors=True)
    return python


def _uv(*arguments: str) -> None:
    beside = Path(sys.executable).with_name("uv")
    uv = str(beside) if beside.exists() else shutil.which("uv")
    if uv is None:
        raise ConfigError("uv is not installed", remedy="Install it with `pip install uv`.")
    try:
        done = subprocess.run(
            [uv, *arguments, "--quiet"], capture_output=True, text=True, timeout=INSTALL_S, check=False, env=_bare()
        )
    except subprocess.TimeoutExpired as error:
        raise ConfigError(f"uv {arguments[0]} took more than {INSTALL_S:.0f} s") from error
    if done.returncode:
        said = " ".join(done.stderr.split())
        raise ConfigError(f"uv {arguments[0]} failed: {said[:200]}")


def _bare() -> dict[str, str]:
    """The environment as it is, but for the one virtual environment that uv would take for its own."""
    return {key: value for key, value in os.environ.items() if key not in ("VIRTUAL_ENV", "PYTHONPATH")}
