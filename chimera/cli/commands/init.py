"""``chimera init``: writes a settings file that explains itself."""

import json
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from chimera.cli.view.output import tell
from chimera.core.errors import InputError

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

HEAD = """\
# Settings of Chimera. Each line shows a default; take the # away to change it.
# First wins: arguments, CHIMERA_* variables of the environment, this file, defaults.
# Keys and passwords are better kept in the environment than here.
"""


def init_command(
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
) -> None:
    """Write a commented settings file, chimera.toml, into this folder."""
    from chimera.core.settings import CONFIG_FILE

    path = Path(CONFIG_FILE)
    try:
        with path.open("w" if force else "x", encoding="utf-8") as writing:
            writing.write(settings_file())
    except FileExistsError:
        raise InputError(f"{path} is there already", remedy="Repeat with --force to replace it.") from None
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror}", remedy="Go to a folder of yours.") from None
    tell(f"Wrote {path.absolute()}. Nothing changes until you take a # away; `chimera doctor` shows what is used.")


def settings_file() -> str:
    """The file: every setting with its description, variable and default."""
    from chimera.core.settings import Settings

    return HEAD + "".join(_entry(name, field) for name, field in Settings.model_fields.items())


def _entry(name: str, field: "FieldInfo") -> str:
    default = field.get_default(call_default_factory=True)
    about = f"{field.description} (CHIMERA_{name.upper()}{', not set' if default is None else ''})"
    value = json.dumps(
        "…" if default is None else str(default) if isinstance(default, Path) else default, ensure_ascii=False
    )
    comment = "\n".join(f"# {text}" for text in textwrap.wrap(about, 110))
    return f"\n{comment}\n# {name} = {value}\n"
