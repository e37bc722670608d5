"""The creation code of the local token and of the odd tokens of tests is what their sources compile to.

Proves FR-633 in part: nobody has to trust the bytes. They are written anew by `python tests/unit/test_token_builds.py`.
"""

import importlib
import json
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = (ROOT / "chimera/commerce/chain/local_token.vy", ROOT / "tests/integration/commerce/chain/odd_token.vy")


def compiled(source: Path) -> dict[str, str]:
    vyper: Any = importlib.import_module("vyper")
    code = vyper.compile_code(source.read_text(), output_formats=["bytecode"])["bytecode"]
    return {"compiler": "vyper 0.4.3", "bytecode": str(code)}


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.stem)
def test_the_bytes_are_those_of_the_source(source: Path) -> None:
    vyper = pytest.importorskip("vyper", reason="vyper is not installed")
    assert vyper.__version__.startswith("0.4.3")
    assert json.loads(source.with_suffix(".json").read_text()) == compiled(source)


if __name__ == "__main__":
    for each in SOURCES:
        each.with_suffix(".json").write_text(json.dumps(compiled(each), indent=1) + "\n")
