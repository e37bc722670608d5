"""Environments of their own for packages that Chimera is compared with, and that are no dependency of it.

Each is made once, with uv, in a folder named after what is in it; it is there whole or not at all.
"""

import asyncio
import hashlib
import os
import shutil
import sys
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path

from chimera.core.errors import ConfigError

INSTALL_S = 900.0
"""Seconds for one step of an installation."""


def place_of(contents: str, folder: Path, name: str = "") -> Path:
    """Where in ``folder`` the environment with these contents is, for this version of Python."""
    digest = hashlib.sha256(f"{sys.version}\n{contents}".encode()).hexdigest()[:16]
    return folder / (f"{name}-{digest}" if name else digest)


async def environment(place: Path, packages: Sequence[str], making: Callable[[], None] | None = None) -> Path:
    """The Python of the environment at ``place``; it is made when it is not there yet, and ``making`` called first.

    ``packages``: what ``uv pip install`` is given, and nothing that it depends on.

    Raises:
        ConfigError: uv is not there, or a package cannot be installed.
    """
    python = place / "bin" / "python"
    if python.exists():
        return python
    if making is not None:
        making()
    beside = place.with_name(f"{place.name}.{uuid.uuid4().hex[:8]}")
    try:
        await asyncio.to_thread(place.parent.mkdir, parents=True, exist_ok=True)
        await _uv("venv", "--python", sys.executable, str(beside))
        await _uv("pip", "install", "--no-deps", "--python", str(beside / "bin" / "python"), *packages)
        await asyncio.to_thread(_put, beside, place)
    except OSError as error:
        raise ConfigError(f"no environment can be made: {type(error).__name__}") from error
    finally:
        await asyncio.to_thread(shutil.rmtree, beside, ignore_errors=True)
    return python


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
