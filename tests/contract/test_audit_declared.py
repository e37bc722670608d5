"""Whatever the code puts on the record is declared, and so is every rule of a guard.

Proves TR-40: the kinds of events and the ids of rules are read from the source; a mission that is played leaves nothing
undeclared on the record; a kind that is missing from the table is found. An undeclared event is kept all the same.
"""

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from chimera import ChimeraSwarm, Mission
from chimera.core.clock import SystemClock
from chimera.core.contracts import Threat
from chimera.core.settings import Settings
from chimera.guards.permissions.policies import shipped_model
from chimera.store.audit import AuditEvent, AuditLog, kinds, owasp
from chimera.store.audit.kinds import KINDS, UNDECLARED, Category, kind_of
from chimera.store.postgres import Pool, fetch

PACKAGE = Path(__file__).resolve().parents[2] / "chimera"
PASSED_ON = {
    "nodes/context.py",
    "store/principals.py",
    "store/keys.py",
    "guards/policy/proposing.py",
    "guards/incidents.py",
    "commerce/x402/buying.py",
}
"""Modules with a function of their own that takes the kind; what that is given is found as what looks like a kind."""
TAKES_KIND = ("_event", "told")
"""Those functions. ``told`` of a principal is called from elsewhere too."""
KIND = re.compile(rf"({'|'.join(Category)})\.[a-z][a-z-]*")
FAMILIES = "|".join(sorted({rule.partition(".")[0] for rule in owasp.rules()}))
RULE = re.compile(rf"({FAMILIES})\.[a-z]+(-[a-z]+)*(?<!toml)(?<!json)")


@pytest.fixture(scope="module")
def modules() -> dict[str, ast.Module]:
    """The whole package, which takes a second to parse."""
    return {
        str(path.relative_to(PACKAGE)): ast.parse(path.read_text("utf-8")) for path in sorted(PACKAGE.rglob("*.py"))
    }


@pytest.fixture(scope="module")
def used_kinds(modules: dict[str, ast.Module]) -> set[str]:
    """The kinds of events in the code."""
    return {kind for name, tree in modules.items() for kind in given_kinds(name, tree)}


@pytest.fixture(scope="module")
def used_rules(modules: dict[str, ast.Module]) -> set[str]:
    """The rules of guards in the code."""
    guards = [tree for name, tree in modules.items() if name.startswith("guards/")]
    found = {rule for tree in guards for rule in given_rules(tree)}
    return found - KINDS.keys() - {action.id for action in shipped_model().actions}


def literal(node: ast.expr | None) -> str | None:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def given_kinds(name: str, tree: ast.Module) -> Iterator[str]:
    """The kinds that a module puts on the record: of ``AuditEvent(...)`` and ``.record(id, mission, kind, ...)``."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if called == "AuditEvent":
            kind = next(
                (word.value for word in node.keywords if word.arg == "kind"), node.args[0] if node.args else None
            )
        elif called == "record" and len(node.args) >= 4:
            kind = node.args[2]
        elif called in TAKES_KIND:
            kind = None
            yield from (
                text
                for child in ast.walk(node)
                if isinstance(child, ast.expr) and (text := literal(child)) and KIND.fullmatch(text)
            )
            continue
        else:
            continue
        found = literal(kind)
        assert found is not None or name in PASSED_ON, f"{name}:{node.lineno}: a kind that is no literal"
        if found is not None:
            yield found


def given_rules(tree: ast.Module) -> Iterator[str]:
    """The ids of rules in a module of guards: ``rule = "..."``, ``reject("...", ...)``, and what looks like one."""
    for node in ast.walk(tree):
        match node:
            case ast.Assign(targets=[ast.Name(id="rule" | "RULE")], value=ast.Constant(value=str(rule))):
                yield rule
            case ast.Call(func=ast.Name(id="reject"), args=[ast.Constant(value=str(rule)), *_]):
                yield rule
            case ast.Constant(value=str(text)) if RULE.fullmatch(text):
                yield text
            case _:
                pass


def test_every_kind_of_event_in_the_code_is_declared_and_used(used_kinds: set[str]) -> None:
    assert used_kinds - KINDS.keys() == set()
    assert KINDS.keys() - used_kinds == set(), "declared, and never put on the record"


def test_every_rule_of_a_guard_has_a_risk(used_rules: set[str]) -> None:
    assert len(used_rules) >= 15
    assert {rule for rule in used_rules if not owasp.risk_of(rule)} == set()


def test_the_table_of_rules_is_whole(used_rules: set[str]) -> None:
    """All ten risks are named, every rule has one of them, and no rule is there that no guard has."""
    assert list(owasp.risks()) == [f"ASI{number:02d}" for number in range(1, 11)]
    assert set(owasp.rules().values()) <= set(owasp.risks())
    made_of_data = {rule for rule in owasp.rules() if rule.endswith("*") or rule.count(".") > 1}
    assert set(owasp.rules()) - made_of_data - used_rules == set()


def test_the_patterns_of_injections_say_the_same_as_the_table() -> None:
    """They carry a tag of their own, next to their reasons."""
    patterns = tomllib.loads((PACKAGE / "guards/injection/rules.toml").read_text("utf-8"))["rule"]
    other = {rule["id"]: rule["asi"] for rule in patterns if owasp.risk_of(f"injection.{rule['id']}") != rule["asi"]}
    assert other == {}


def test_a_rule_is_found_by_the_longest_beginning(monkeypatch: pytest.MonkeyPatch) -> None:
    table = {"risks": {}, "rules": {"a.*": "ASI01", "a.b.*": "ASI02", "a.b.c": "ASI03"}}
    monkeypatch.setattr(owasp, "_table", lambda: table)
    owasp.risk_of.cache_clear()
    found = [owasp.risk_of(rule) for rule in ("a.x", "a.b.x", "a.b.c", "b")]
    owasp.risk_of.cache_clear()
    assert found == ["ASI01", "ASI02", "ASI03", ""]


def test_a_kind_that_is_missing_is_found(monkeypatch: pytest.MonkeyPatch, used_kinds: set[str]) -> None:
    fewer = {name: kind for name, kind in KINDS.items() if name != "verdict"}
    assert used_kinds - fewer.keys() == {"verdict"}
    monkeypatch.setattr(kinds, "KINDS", fewer)
    assert kind_of("verdict") is UNDECLARED


async def test_a_mission_leaves_nothing_undeclared_on_the_record(settings: Settings, feed: Path) -> None:
    async with ChimeraSwarm(settings) as swarm:
        mission = Mission(
            goal="Find what is rising and write a short briefing with sources", inputs={"feed": str(feed)}
        )
        await swarm.run(mission)
        rows = await fetch(swarm.app.pool, "SELECT DISTINCT kind FROM audit_events")
        rules = await fetch(
            swarm.app.pool,
            "SELECT DISTINCT jsonb_array_elements_text(body::jsonb -> 'data' -> 'rules') AS rule FROM audit_events",
        )
    assert len(rows) >= 6
    assert {row["kind"] for row in rows} - KINDS.keys() == set()
    assert {row["rule"] for row in rules if not owasp.risk_of(row["rule"])} == set()


async def test_an_undeclared_event_is_kept_all_the_same(pool: Pool, clock: SystemClock) -> None:
    log = AuditLog(pool, clock)
    await log.append(AuditEvent("nobody.knows", "x"))
    (event,) = await log.tail("default", 1)
    assert (event["kind"], kind_of(event["kind"]).category, await log.verify()) == ("nobody.knows", Category.OTHER, 1)
    assert kinds.threat_of(event) is Threat.LOW
