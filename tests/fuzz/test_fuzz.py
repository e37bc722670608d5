"""Fuzzing runs, finds a bug that was planted, and finds none where none was. Proves FR-216."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

RUN = Path(__file__).with_name("run.py")

pytestmark = [
    pytest.mark.long,
    pytest.mark.timeout(300),
    pytest.mark.skipif(
        importlib.util.find_spec("atheris") is None,
        reason="atheris is not installed: it has wheels for Linux on x86-64 alone",
    ),
]


def fuzz(target: str, folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(RUN), target, "--cache", str(folder), "--seed", "1", *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=240, check=False, env=dict(os.environ))


@pytest.mark.parametrize("target", ["normaliser", "hints", "detector", "policy", "manifests", "cedar", "gateway"])
def test_a_short_run_finds_nothing(target: str, tmp_path: Path) -> None:
    done = fuzz(target, tmp_path, "--seconds", "10")
    assert done.returncode == 0, done.stderr[-3_000:]
    assert list((tmp_path / "found").iterdir()) == []
    learned = {path.name for path in (tmp_path / target).iterdir() if not path.name.startswith("seed")}
    assert learned, "new paths were found, so the code is really watched"


def test_a_planted_bug_is_found_and_can_be_run_again(tmp_path: Path) -> None:
    done = fuzz("manifests", tmp_path, "--seconds", "180", "--plant")
    assert done.returncode != 0
    assert "the planted bug" in done.stderr + done.stdout
    (found,) = (tmp_path / "found").iterdir()
    assert found.read_bytes().startswith(b"<~Q")
    again = fuzz("manifests", tmp_path, "--replay", str(found), "--plant")
    assert again.returncode != 0
    assert fuzz("manifests", tmp_path, "--replay", str(found)).returncode == 0
