"""Packages that raise Python's limit of recursion do not: deep data of strangers stays an exception. Proves TR-141."""

import subprocess
import sys

import pytest

pytest.importorskip("eth_account", reason="the extra commerce is not installed")
pytest.importorskip("eth_tester", reason="the extra commerce is not installed")

SCRIPT = """
import json, sys
before = sys.getrecursionlimit()
{first}
import eth_account, web3, eth_tester
from eth_tester import EthereumTester, PyEVMBackend
EthereumTester(PyEVMBackend())
print(before, sys.getrecursionlimit())
"""


def _limits(first: str) -> list[int]:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(first=first)], capture_output=True, text=True, timeout=60, check=True
    )
    return [int(each) for each in done.stdout.split()]


def test_the_limit_stays_where_it_is() -> None:
    before, after = _limits("import chimera.commerce")
    assert after == before


def test_without_that_it_is_raised() -> None:
    """If this fails, the packages have mended it, and ``core/recursion.py`` can go."""
    before, after = _limits("")
    assert after > before
