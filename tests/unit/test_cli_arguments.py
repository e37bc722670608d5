"""The command line costs little to start, explains itself, refuses bad input early with a code, and has its page.

Proves FR-63, FR-64, FR-65, FR-70, FR-72.
"""

import json
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from chimera.cli.commands.catalogue import page
from chimera.cli.commands.init import settings_file
from chimera.cli.door import EXIT_CODES
from chimera.cli.main import app
from chimera.core.errors import catalogue
from chimera.core.settings import Settings, load_settings

DEAR = (
    "langgraph",
    "langchain_core",
    "langchain",
    "psycopg",
    "redis",
    "mcp",
    "pydantic",
    "rich",
    "httpx",
    "jsonschema",
)
COMMANDS = [
    "demo",
    "run",
    "ls",
    "show",
    "watch",
    "cancel",
    "resume",
    "amend",
    "history",
    "replay",
    "fork",
    "doctor",
    "init",
    "down",
    "migrate",
    "errors",
    "version",
    "artifact",
    "review",
    "audit",
    "tools",
    "eval",
    "worker",
    "top",
]
GROUPS = {
    "artifact": ["ls", "get"],
    "review": [
        "ls",
        "show",
        "approve",
        "reject",
        "edit",
        "claim",
        "release",
        "ask",
        "reassign",
        "escalate",
        "undo",
        "bulk",
        "guidance",
    ],
    "audit": ["verify", "tail", "show"],
    "tools": ["ls", "show"],
    "pools": ["ls", "add", "set"],
    "agents": ["ls", "add", "set", "rm"],
    "runs": ["ls", "replay", "cancel"],
    "eval": ["missions"],
}


@pytest.fixture(autouse=True)
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder without settings, and a home and servers that nothing here may get as far as using."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CHIMERA_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("CHIMERA_DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none")
    monkeypatch.setenv("CHIMERA_REDIS_URL", "redis://127.0.0.1:1")


def chimera(*arguments: str, typed: str | None = None) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, list(arguments), input=typed)
    return result.exit_code, result.stdout, result.stderr


def refused(*arguments: str, typed: str | None = None) -> dict[str, Any]:
    code, out, _ = chimera(*arguments, "--json", typed=typed)
    error = json.loads(out)["error"]
    assert code == error["exit_code"]
    return error


def test_help_imports_nothing_dear() -> None:
    script = (
        "import sys; from chimera.cli.main import app; from typer.testing import CliRunner;"
        "assert CliRunner().invoke(app, ['--help']).exit_code == 0;"
        f"print([name for name in {DEAR} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout.strip() == "[]"


def test_help_lists_every_command_and_exit_code() -> None:
    code, out, _ = chimera("--help")
    assert code == 0
    listed = [text.split()[0] for text in out.splitlines() if text.startswith("  ") and text[2:3].strip()]
    assert [name for name in COMMANDS if name not in listed] == []
    assert [str(number) for number in EXIT_CODES if str(number) not in listed] == []


@pytest.mark.parametrize(
    "words", [[name] for name in COMMANDS] + [[g, name] for g, names in GROUPS.items() for name in names]
)
def test_each_command_explains_itself_and_takes_json_where_it_prints_data(words: list[str]) -> None:
    code, out, _ = chimera(*words, "--help")
    assert code == 0
    assert "Usage: " in out
    if (words[0] not in GROUPS and words not in (["init"], ["watch"])) or (len(words) == 2 and words[1] != "get"):
        assert "--json" in out


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["run", ""], "CH101", "empty"),
        (["run", " \n\t"], "CH101", "empty"),
        (["run", "x" * 1_000_000], "CH101", "8000"),
        (["run", "x", "--feed", "no/such/file.csv"], "CH102", "No such file"),
        (["run", "x", "--feed", "."], "CH102", "directory"),
        (["run", "x", "--feed", "a\x00b"], "CH102", "not a path"),
        (["run", "x", "--input", "nothing"], "CH100", "no name and value"),
        (["run", "x", "--input", "a b=1"], "CH100", "inputs"),
        (["run", "x", "--budget", "much"], "CH100", "not an amount"),
        (["run", "x", "--budget", "0.1 XYZ"], "CH100", "unknown asset"),
        (["run", "x", "--deadline", "-1"], "CH100", "deadline_s"),
        (["run", "x", "--tenant", "../x"], "CH100", "tenant"),
        (["run", "x", "--constraint", "c"] + ["-c", "c"] * 60, "CH100", "constraints"),
        (["run", "x", "--model", "nonsense"], "CH401", "nonsense"),
        (["amend", "abc"], "CH100", "nothing to change"),
        (["review", "reject", "abc"], "CH100", "needs a reason"),
        (["review", "edit", "abc"], "CH100", "no terminal"),
        (["review", "edit", "abc", "--payload", "no/such.json"], "CH100", "cannot be read"),
        (["run"], "CH100", "Missing argument"),
        (["run", "x", "--bogus"], "CH100", "--bogus"),
        (["frobnicate"], "CH100", "frobnicate"),
        (["audit", "tail", "-n", "many"], "CH100", "--count"),
        (["ls"], "CH301", "Postgres cannot be reached"),
    ],
)
def test_bad_input_is_refused_before_anything_is_opened(arguments: list[str], code: str, said: str) -> None:
    error = refused(*arguments)
    assert error["code"] == code
    assert said in error["message"]
    assert error["remedy"]
    assert error["exit_code"] == {"CH301": 4}.get(code, 2)
    assert len(error["message"]) < 300
    assert not Path("home").exists()


def test_without_json_an_error_is_a_line_and_a_remedy_on_stderr() -> None:
    code, out, err = chimera("run", "x", "--feed", "no/such\x1b[31m.csv")
    assert (code, out) == (2, "")
    assert err.splitlines()[0] == "CH102 no/such.csv: No such file or directory"
    assert err.splitlines()[1].startswith("-> Give a readable file")
    assert len(err.splitlines()) == 2


def test_the_goal_can_come_from_stdin() -> None:
    assert refused("run", "-", typed="")["code"] == "CH101"
    further = refused("run", "-", "--model", "nonsense", typed="a goal from a pipe")
    assert further["code"] == "CH401"  # the goal was taken, the model was not


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CHIMERA_MAX_STEPS", "many"),
        ("CHIMERA_CONFIG", "no/such.toml"),
        ("CHIMERA_SERVERS", "no/such.json"),
        ("CHIMERA_MODELS", '{"boss": "offline"}'),
    ],
)
def test_a_wrong_setting_is_named(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    error = refused("tools", "ls")
    assert (error["code"], error["exit_code"]) == ("CH201", 2)


def test_a_settings_file_that_is_not_toml_is_named() -> None:
    Path("chimera.toml").write_text("model = = 1", "utf-8")
    assert refused("ls")["code"] == "CH201"


def test_the_password_of_a_database_is_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHIMERA_DATABASE_URL", "postgresql://ada:hunter2@127.0.0.1:1/none")
    _, out, err = chimera("ls")
    assert "CH301" in err
    assert "hunter2" not in out + err


def test_init_writes_settings_that_change_nothing_until_they_are_uncommented() -> None:
    assert chimera("init")[0] == 0
    file = Path("chimera.toml")
    assert tomllib.loads(file.read_text("utf-8")) == {}
    lines = [text.removeprefix("# ") for text in file.read_text("utf-8").splitlines() if " = " in text]
    given = tomllib.loads("\n".join(text for text in lines if text.partition(" = ")[0] in Settings.model_fields))
    assert set(given) == set(Settings.model_fields)
    defaults = {name: field.get_default(call_default_factory=True) for name, field in Settings.model_fields.items()}
    usable = {name: value for name, value in given.items() if defaults[name] is not None}
    found = load_settings(**usable)
    assert {name: getattr(found, name) for name in usable} == {name: defaults[name] for name in usable}
    for field in Settings.model_fields.values():
        assert (field.description or "?")[:60] in settings_file()


def test_init_replaces_nothing_unasked() -> None:
    Path("chimera.toml").write_text("# mine", "utf-8")
    code, _, err = chimera("init")
    assert (code, err[:5]) == (2, "CH100")
    assert Path("chimera.toml").read_text("utf-8") == "# mine"
    assert chimera("init", "--force")[0] == 0
    assert "CHIMERA_MODEL" in Path("chimera.toml").read_text("utf-8")


def test_the_committed_catalogue_of_errors_is_current() -> None:
    committed = Path(__file__).resolve().parents[2] / "docs" / "errors.md"
    assert committed.read_text("utf-8") == page(), "run `chimera errors --markdown > docs/errors.md`"


def test_the_catalogue_has_every_error_once_and_each_has_a_remedy() -> None:
    _, out, _ = chimera("errors", "--json")
    found = json.loads(out)
    codes = [entry["code"] for entry in found["errors"]]
    assert len(codes) == len(set(codes)) == len(catalogue()) >= 35
    assert all(entry["remedy"] and entry["meaning"] for entry in found["errors"])
    assert all(str(entry["exit_code"]) in found["exit_codes"] for entry in found["errors"])
    _, table, _ = chimera("errors")
    assert all(code in table for code in codes)


def test_shells_can_complete_commands() -> None:
    asked = {"_CHIMERA_COMPLETE": "complete_bash", "COMP_WORDS": "chimera re", "COMP_CWORD": "1"}
    result = CliRunner().invoke(app, [], prog_name="chimera", env=asked)
    assert result.stdout.split() == ["resume", "replay", "review"]


def test_the_version_is_the_distributions() -> None:
    assert chimera("--version") == chimera("version")
    assert json.loads(chimera("version", "--json")[1])["version"] == chimera("version")[1].strip()
