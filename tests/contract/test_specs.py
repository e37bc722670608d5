"""The specifications are well formed, and a malformed one is refused with its file and line.

Proves TR-34, TR-35 and META-10: schemas are Draft 2020-12, valid examples fit and invalid ones do not, limits read as
written and agree with the settings, each mistake that can be planted in a copy is found at its place, the loader finds
an installed copy, and reading needs no package.
"""

import json
import pickle
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from chimera.core import specs
from chimera.core.errors import ChimeraError, SpecError, catalogue
from chimera.core.money import Money
from chimera.core.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = list(specs.examples())


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the specifications to break."""
    return Path(shutil.copytree(specs.specs_root(), tmp_path / "specs"))


def append(root: Path, name: str, text: str) -> int:
    """Add text to a file of a copy; return the line on which it starts."""
    path = root / name
    before = path.read_text("utf-8")
    path.write_text(f"{before}\n{text}\n", "utf-8")
    return before.count("\n") + 2


@pytest.mark.parametrize("schema_id", specs.schema_ids())
def test_schema_is_valid_and_has_examples_of_both_kinds(schema_id: str) -> None:
    Draft202012Validator.check_schema(specs.schema(schema_id))
    kinds = {example.valid for example in EXAMPLES if example.schema_id == schema_id}
    assert kinds == {True, False}, "each schema has a valid and an invalid example"


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: f"{example.schema_id}:{example.block.line}")
def test_example_is_what_it_says(example: specs.Example) -> None:
    assert (specs.problems(example.schema_id, example.value) == []) == example.valid


def test_the_required_schemas_are_there() -> None:
    wanted = """MISSION PLAN TASK CRITERION TASK_RESULT EVIDENCE USAGE MONEY DECISION VERDICT REVIEW_ITEM
        REVIEW_DECISION MISSION_RESULT ERROR EVENT CAPABILITY TREND_ANALYSIS.input TREND_ANALYSIS.output"""
    assert set(wanted.split()) <= set(specs.schema_ids())


def test_schemas_are_self_contained_and_owned_by_the_caller() -> None:
    schema = specs.schema("MISSION_RESULT")
    assert "$ref" not in json.dumps(schema)
    schema["properties"].clear()
    assert specs.schema("MISSION_RESULT")["properties"]["usage"]["properties"]["cost"]["required"] == ["units"]


def test_problems_name_the_place_and_never_quote_the_value() -> None:
    found = specs.problems("MISSION", {"goal": "sk-secret" * 1000, "tenant": "sk-secret!", "deadline_s": "sk-secret"})
    assert sorted(found) == [
        "$.deadline_s: breaks type number",
        "$.goal: breaks maxLength 8000",
        "$.tenant: breaks pattern ^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$",
    ]
    assert specs.problems("MISSION", {}) == ["$: 'goal' is a required property"]


def test_a_line_break_after_a_pattern_is_refused() -> None:
    """Proves TR-4."""
    assert specs.problems("MONEY", {"units": 1, "asset": "USD"}) == []
    assert specs.problems("MONEY", {"units": 1, "asset": "USD\n"}) != []


def test_every_error_is_described_and_every_described_code_exists() -> None:
    """Proves TR-10: the codes and names of the error tree are those of the specification, and each error fits ERROR."""
    stated = {one["const"]: one["title"] for one in specs.schema("ERROR")["properties"]["code"]["oneOf"]}
    assert stated == {kind.code: kind.__name__ for kind in catalogue()}
    for kind in catalogue():
        error = kind("first line\nsecond line", mission_id="m1")
        assert specs.problems("ERROR", error.as_dict()) == []
        assert error.as_dict()["mission_id"] == "m1"


def test_exit_codes_are_the_stated_ones() -> None:
    """Proves TR-13 for the error tree."""
    by_branch = {"CH1": 2, "CH2": 2, "CH3": 4, "CH4": 5, "CH5": 6, "CH6": 7, "CH7": 1, "CH8": 6, "CH9": 1, "CH0": 1}
    exceptions = {"CH401": 2}  # an unknown model is a wrong setting
    wrong = {
        kind.code: kind.exit_code
        for kind in catalogue()
        if kind.exit_code != exceptions.get(kind.code, by_branch[kind.code[:3]])
    }
    assert wrong == {}


def test_an_error_survives_pickling() -> None:
    """Proves TR-12."""
    for kind in catalogue():
        before = kind("what happened", remedy="what to do", mission_id="m1")
        after = pickle.loads(pickle.dumps(before))
        assert (type(after), after.as_dict()) == (kind, before.as_dict())


@pytest.mark.parametrize(("text", "units"), [("1 USD", 1_000_000), ("0.25 USD", 250_000), ("0.000001 USD", 1)])
def test_money_is_read_and_written_exactly(text: str, units: int) -> None:
    """Proves TR-5."""
    money = Money.parse(text)
    assert money.units == units
    assert Money.parse(str(money)) == money


def test_amounts_of_different_assets_are_never_added() -> None:
    """Proves TR-5."""
    with pytest.raises(ChimeraError, match="cannot add EUR to USD"):
        _ = Money(units=1) + Money(units=1, asset="EUR")


def test_limits_of_the_settings_are_their_defaults() -> None:
    """Proves TR-32."""
    for name, limit in specs.limits()["settings"].items():
        field = Settings.model_fields[name]
        assert limit.holds(field.default), name
        assert limit.bound == field.default, f"{name}: write {field.default} in the specification"


def test_limits_compare_as_written() -> None:
    fleet = specs.limits()["bench.fleet"]
    assert fleet["in_flight"].holds(10_000)
    assert not fleet["in_flight"].holds(9_999)
    assert not fleet["added_p99_ms"].holds(2_000)
    assert not fleet["lost"].holds(1)


PLANTED: dict[str, tuple[str, str, Callable[[Path], object], int, str]] = {
    # name: (file, text, reader, offset of the faulty line, complaint)
    "open fence": ("technical.md", "```text\nno end", specs.clauses, 0, "not closed"),
    "indented fence": ("technical.md", "  ```json schema id=X", specs.clauses, 0, "indented"),
    "fence in a fence": ("technical.md", "```text\n```json schema id=X\n```", specs.clauses, 1, "opens inside"),
    "unknown language": ("technical.md", "```xml\n```", specs.clauses, 0, "unknown kind"),
    "untagged json": ("technical.md", "```json\n{}\n```", specs.clauses, 0, "cannot be ''"),
    "misspelt tag": ("technical.md", "```json shema id=X\n{}\n```", specs.clauses, 0, "cannot be 'shema id=X'"),
    "schema without id": ("technical.md", "```json schema\n{}\n```", specs.schema_ids, 0, "cannot be 'schema'"),
    "not json": ("technical.md", '```json schema id=X\n{\n  "type": object\n}\n```', specs.schema_ids, 2, "not JSON"),
    "twin keys": ("technical.md", '```json schema id=X\n{"a": 1, "a": 2}\n```', specs.schema_ids, 0, "twice"),
    "not an object": ("technical.md", "```json schema id=X\n[]\n```", specs.schema_ids, 0, "JSON object"),
    "schema twice": ("technical.md", "```json schema id=MONEY\n{}\n```", specs.schema_ids, 0, "already defined"),
    "unknown reference": ("technical.md", '```json schema id=X\n{"$ref": "Y"}\n```', specs.schema_ids, 0, "unknown"),
    "circle": ("technical.md", '```json schema id=X\n{"items": {"$ref": "X"}}\n```', specs.schema_ids, 0, "itself"),
    "rule beside a reference": (
        "technical.md",
        '```json schema id=X\n{"$ref": "MONEY", "required": ["asset"]}\n```',
        specs.schema_ids,
        0,
        "beside $ref",
    ),
    "example of nothing": (
        "technical.md",
        "```json example of=X\n1\n```",
        lambda root: list(specs.examples(root)),
        0,
        "unknown schema 'X'",
    ),
    "clause twice": ("technical.md", "**TR-1** Again.", specs.clauses, 0, "already used in technical.md"),
    "clause in the wrong file": ("technical.md", "**FR-999** Here.", specs.clauses, 0, "does not belong"),
    "clause with a bad id": ("technical.md", "**TR-12a** Some text.", specs.clauses, 0, "starts with its id"),
    "clause without text": ("technical.md", "**TR-999**", specs.clauses, 0, "starts with its id"),
    "open for no reason": ("technical.md", "**TR-999** Text.\n(open: )", specs.clauses, 0, "(open: reason)"),
    "open, then more": ("technical.md", "**TR-999** Text. (open: later) More.", specs.clauses, 0, "(open: reason)"),
    "limit without brackets": ("technical.md", "```yaml slo id=x\na: 3\n```", specs.limits, 1, "is written"),
    "unknown comparison": ("technical.md", '```yaml slo id=x\na: ["~", 3]\n```', specs.limits, 1, "not a limit"),
    "limit twice": ("technical.md", '```yaml slo id=x\na: [">", 1]\na: [">", 2]\n```', specs.limits, 2, "twice"),
    "limits twice": ("technical.md", "```yaml slo id=sim\n```", specs.limits, 0, "already defined"),
    "table twice": ("technical.md", "```mermaid erDiagram\nusage {\n}\n```", specs.erd, 1, "twice"),
    "column twice": (
        "technical.md",
        "```mermaid erDiagram\nx {\ntext a\ntext a\n}\n```",
        specs.erd,
        3,
        "column a stands twice",
    ),
    "not a column": ("technical.md", "```mermaid erDiagram\nx {\nvarchar(3) a\n}\n```", specs.erd, 2, "not a column"),
    "not a table": ("technical.md", "```mermaid erDiagram\nx = y\n```", specs.erd, 1, "neither a table"),
    "open table": ("technical.md", "```mermaid erDiagram\nx {\n```", specs.erd, 0, "not closed"),
}


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_mistake_is_found_at_its_place(name: str, copy: Path) -> None:
    file, text, read, offset, complaint = PLANTED[name]
    line = append(copy, file, text)
    with pytest.raises(SpecError) as caught:
        read(copy)
    assert caught.value.code == "CH203"
    assert complaint in caught.value.message
    assert f"{file}:{line + offset}: " in caught.value.message


def test_a_missing_file_is_named(copy: Path) -> None:
    (copy / "functional.md").unlink()
    with pytest.raises(SpecError, match=r"functional\.md is missing"):
        specs.clauses(copy)


def test_an_unknown_schema_is_named() -> None:
    with pytest.raises(SpecError, match="NO_SUCH"):
        specs.schema("NO_SUCH")


def test_the_specifications_of_an_installed_wheel_are_found(tmp_path: Path) -> None:
    package = tmp_path / "site-packages" / "chimera"
    package.mkdir(parents=True)
    with pytest.raises(SpecError, match="no specifications"):
        specs.specs_root(package)
    shutil.copytree(specs.specs_root(), tmp_path / "site-packages" / "specs")  # beside the package: a checkout
    assert specs.specs_root(package) == package.parent / "specs"
    shutil.copytree(specs.specs_root(), package / "_specs")  # inside it: the wheel
    assert specs.specs_root(package) == package / "_specs"
    assert specs.clauses(package / "_specs")


def test_the_wheel_carries_the_specifications() -> None:
    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert wheel["sources"]["specs"] == "chimera/_specs"
    assert "specs" in wheel["only-include"]


def test_reading_loads_no_package_and_checking_loads_jsonschema() -> None:
    program = """
import sys
from chimera.core import specs
specs.clauses(), specs.schema("MISSION"), specs.erd(), specs.limits()
foreign = {"jsonschema", "pydantic", "yaml", "langgraph", "langchain_core", "psycopg"} & set(sys.modules)
assert not foreign, foreign
assert specs.problems("MONEY", {"units": -1})
assert "jsonschema" in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=30, cwd=ROOT)


def test_money_is_whole_also_from_python() -> None:
    """Proves TR-5."""
    with pytest.raises(ValueError, match="units"):
        Money.model_validate({"units": 1.0})
