"""The Python that a framework runs on: this one where it has the pinned versions, else one made with uv, once."""

import asyncio
import hashlib
import os
import re
import shutil
import sys
import uuid
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

from chimera.core.errors import ConfigError

INSTALL_S = 900.0
"""Seconds for one step of an installation."""
_PIN = re.compile(r"^([A-Za-z0-9._-]+)(?:\[[^\]]*\])?==([^\s;\\]+)", re.MULTILINE)


async def python_for(peer: Path, folder: Path, say: Callable[[str], None]) -> Path:
    """The Python for the ``work.py`` in a framework's folder.

    That is this one if it has what ``requirements.in`` names, at those versions. Else it is that of an environment in
    ``folder`` with exactly what ``requirements.txt`` pins; one that was made before is used again.

    Raises:
        ConfigError: the framework's files are not there, uv is not, or a package cannot be installed.
    """
    try:
        asked, pinned = (peer / "requirements.in").read_text("utf-8"), (peer / "requirements.txt").read_text("utf-8")
    except OSError as error:
        raise ConfigError(
            f"{peer.name} has no requirements: {type(error).__name__}", remedy="Restore its files from the repository."
        ) from error
    if installed_here(asked):
        return Path(sys.executable)
    place = folder / f"{peer.name}-{hashlib.sha256((sys.version + pinned).encode()).hexdigest()[:12]}"
    python = place / "bin" / "python"
    if not python.exists():
        say(f"{peer.name}: installing {len(_PIN.findall(pinned))} packages into {place}")
        await _make(place, peer / "requirements.txt")
    return python


def installed_here(requirements: str) -> bool:
    """Whether this environment has every package that the lines name, at exactly that version."""
    pins = _PIN.findall(requirements)
    return bool(pins) and all(_version(name) == version for name, version in pins)


async def _make(place: Path, requirements: Path) -> None:
    making = place.with_name(f"{place.name}.{uuid.uuid4().hex[:8]}")
    try:
        await asyncio.to_thread(place.parent.mkdir, parents=True, exist_ok=True)
        await _uv("venv", "--python", sys.executable, str(making))
        target = str(making / "bin" / "python")
        await _uv("pip", "install", "--no-deps", "--python", target, "--requirements", str(requirements))
        await asyncio.to_thread(_put, making, place)
    except OSError as error:
        raise ConfigError(f"no environment can be made: {type(error).__name__}") from error
    finally:
        await asyncio.to_thread(shutil.rmtree, making, ignore_errors=True)


def _put(made: Path, place: Path) -> None:
    if not place.exists():
        made.rename(place)


async def _uv(*arguments: str) -> None:
    beside = Path(sys.executable).with_name("uv")
    uv = str(beside) if beside.exists() else shutil.which("uv")
    if uv is None:
        raise ConfigError("uv is not installed", remedy="Install it with `pip install uv`.")
    process = await asyncio.create_subprocess_exec(
        uv, *arguments, "--quiet", stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE, env=_bare()
    )
    try:
        async with asyncio.timeout(INSTALL_S):
            _, told = await process.communicate()
    except TimeoutError as error:
        raise ConfigError(f"uv {arguments[0]} took more than {INSTALL_S:.0f} s") from error
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        raise ConfigError(f"uv {arguments[0]} failed: {' '.join(told.decode(errors='replace').split())[:300]}")


def _bare() -> dict[str, str]:
    """The environment as it is, but for the virtual environment that uv would take for its own."""
    return {key: value for key, value in os.environ.items() if key not in ("VIRTUAL_ENV", "PYTHONPATH")}


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""
