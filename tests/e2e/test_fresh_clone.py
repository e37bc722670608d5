"""A fresh clone in an empty home: one command sets everything up and runs the main job. Proves META-3, META-4."""

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.long
@pytest.mark.timeout(900)
def test_make_demo_needs_nothing_but_python_git_and_make(tmp_path: Path) -> None:
    """``make demo`` bootstraps uv and the environment by itself and ends with the briefing."""
    clone, home = tmp_path / "clone", tmp_path / "home"
    home.mkdir()
    subprocess.run(["git", "clone", "-q", str(ROOT), str(clone)], check=True, timeout=60)
    kept = {key: value for key, value in os.environ.items() if key in ("PATH", "SSL_CERT_FILE", "PIP_CERT", "LANG")}
    made = subprocess.run(
        ["make", "demo"],
        cwd=clone,
        env={**kept, "HOME": str(home), "CHIMERA_EMBEDDED_IDLE_S": "1"},
        capture_output=True,
        text=True,
        timeout=800,
        check=False,
    )
    assert made.returncode == 0, made.stderr[-2_000:]
    assert "## Sources" in made.stdout
    assert "scripted reviewer (not a human)" in made.stdout + made.stderr
