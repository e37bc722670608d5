"""The README's own commands, run as they stand there. Proves META-15.

Blocks fenced as ``sh run`` and ``python run`` are executed in a folder with a feed ``posts.csv``; the two ``make``
commands are resolved by make, and ``make demo``'s command is run by the tests of the command line.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.conftest import Nursery  # noqa: TID251 - its type alone

ROOT = Path(__file__).parents[2]
FENCE = re.compile(r"^```(\w+)([^\n]*)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def blocks(language: str, info: str) -> list[str]:
    """The bodies of the README's fences of a language with that info string."""
    text = (ROOT / "README.md").read_text("utf-8")
    return [body for name, extra, body in FENCE.findall(text) if name == language and extra.strip() == info]


@pytest.fixture
def folder(tmp_path: Path, feed: Path) -> Path:
    """A folder as the README supposes it: with a feed of the user's own."""
    place = tmp_path / "work"
    place.mkdir()
    shutil.copy(feed, place / "posts.csv")
    return place


@pytest.mark.timeout(150)  # several commands one after the other, each a start of its own
@pytest.mark.parametrize("block", blocks("sh", "run"))
def test_shell_commands_run(
    folder: Path, child_environment: Callable[..., dict[str, str]], nursery: "Nursery", block: str
) -> None:
    """Every line exits with 0: what is first, and what takes a shell, as a user's shell runs it."""
    lines = [line for line in block.splitlines() if line.strip()]
    assert len(lines) >= 2
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = child_environment(PATH=path)
    for number, line in enumerate(lines):
        words = shlex.split(line)
        if number == 0 or words[0] != "chimera":
            done = subprocess.run(
                ["sh", "-c", line], cwd=folder, env=environment, capture_output=True, text=True, timeout=50, check=False
            )
            assert done.returncode == 0, (line, done.stdout, done.stderr)
            continue
        with Path(os.devnull).open("rb") as nothing, (folder.parent / "said").open("wb") as said:
            three = (nothing.fileno(), said.fileno(), said.fileno())
            pid = nursery.chimera(*words[1:], environment=environment, folder=folder, descriptors=three)
            code = nursery.ends(pid, 50)
        assert code == 0, (line, (folder.parent / "said").read_text("utf-8"))


PRINTED = (r"done 0\..*\.md", r"trends__analyze_trends \d+\n")


@pytest.mark.parametrize(("place", "printed"), list(enumerate(PRINTED)))
def test_python_examples_run(
    folder: Path, child_environment: Callable[..., dict[str, str]], place: int, printed: str
) -> None:
    """Each prints what it says."""
    examples = blocks("python", "run")
    assert len(examples) == len(PRINTED)
    example = examples[place]
    done = subprocess.run(
        [sys.executable, "-c", example],
        cwd=folder,
        env=child_environment(),
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert re.match(printed, done.stdout), done.stdout


def test_every_other_command_exists(child_environment: Callable[..., dict[str, str]]) -> None:
    """The subcommands named in the text are commands of ``chimera``, and the make targets are targets."""
    text = (ROOT / "README.md").read_text("utf-8")
    chimera = str(Path(sys.executable).parent / "chimera")
    shown = subprocess.run(
        [chimera, "--help"], env=child_environment(), capture_output=True, text=True, timeout=50, check=True
    ).stdout
    named = set(re.findall(r"`chimera (\w+)", text)) | {"show", "watch", "history", "replay", "fork"}
    assert all(re.search(rf"^\s+{name}\b", shown, re.MULTILINE) for name in named), named
    for target in re.findall(r"^make (\w+)", "\n".join(blocks("sh", "")), re.MULTILINE):
        made = subprocess.run(["make", "-n", target], cwd=ROOT, capture_output=True, text=True, timeout=30, check=False)
        assert made.returncode == 0, made.stderr


def test_links_lead_somewhere() -> None:
    """Every relative link and picture of the README is a file."""
    text = (ROOT / "README.md").read_text("utf-8")
    targets = [target for target in re.findall(r"\]\(([^)#]+)[^)]*\)", text) if "://" not in target]
    assert targets
    missing = [target for target in targets if not (ROOT / target).exists()]
    assert not missing
