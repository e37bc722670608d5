"""Which of OWASP's Top 10 for Agentic Applications (2026) each guard rule works against.

The table is one reviewed file, ``owasp.json``. A name that ends in ``*`` stands for all rules that begin like it; the
longest name that fits counts.
"""

import json
from collections.abc import Iterable, Mapping
from functools import cache
from importlib import resources
from typing import Any


@cache
def _table() -> Mapping[str, Any]:
    return json.loads(resources.files("chimera.store.audit").joinpath("owasp.json").read_text("utf-8"))


def risks() -> Mapping[str, str]:
    """The ten risks: their titles by their ids, in order."""
    return _table()["risks"]


def rules() -> Mapping[str, str]:
    """The id of a risk for each rule, or beginning of rules, of the table."""
    return _table()["rules"]


@cache
def risk_of(rule: str) -> str:
    """The id of the risk that a rule works against; empty for a rule that nobody declared."""
    known = rules()
    if rule in known:
        return known[rule]
    fits = [name for name in known if name.endswith("*") and rule.startswith(name[:-1])]
    return known[max(fits, key=len)] if fits else ""


def risks_of(names: Iterable[object]) -> list[str]:
    """The ids of the risks that some rules work against, each once, in order."""
    return sorted({risk_of(str(name)) for name in names} - {""})
