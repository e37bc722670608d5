"""The Python that a framework runs on: this one where it has the pinned versions, else one of its own."""

import re
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

from chimera.core.environments import environment, place_of
from chimera.core.errors import ConfigError

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
    place = place_of(pinned, folder, peer.name)
    told = f"{peer.name}: installing {len(_PIN.findall(pinned))} packages into {place}"
    return await environment(place, ["--requirements", str(peer / "requirements.txt")], lambda: say(told))


def installed_here(requirements: str) -> bool:
    """Whether this environment has every package that the lines name, at exactly that version."""
    pins = _PIN.findall(requirements)
    return bool(pins) and all(_version(name) == version for name, version in pins)


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""
