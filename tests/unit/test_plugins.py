"""Plug-ins by entry points, from packages that are really installed in a folder on the path. Proves FR-61.

Each group gives what it promises; whatever is broken is a coded error that names plug-in and package, never silence.
"""

import json
import sys
from collections.abc import Callable, Generator
from pathlib import Path

import pytest
from langchain_core.language_models import BaseChatModel
from typer.testing import CliRunner

from chimera.app import tool_servers
from chimera.cli.attending import reviewer_for
from chimera.cli.main import app
from chimera.core.contracts import ReviewItem, ReviewPoint
from chimera.core.errors import ConfigError, SettingsInvalid
from chimera.core.plugins import MODELS, REVIEWERS, SERVERS, plugin, plugins
from chimera.core.settings import Settings
from chimera.models.choose import choose_model
from chimera.review.reviewers import plugged_in
from chimera.tools.mesh.servers import ServerSpec

CODE = """
from chimera.core.contracts import ReviewDecision
from chimera.core.errors import SettingsInvalid
from chimera.tools.mesh.servers import ServerSpec

def servers(settings):
    return [ServerSpec(name="weather", transport="http", url="https://example.com/mcp")]

def model(settings):
    from chimera.models.offline.model import OfflineModel
    return OfflineModel()

async def reviewer(item):
    return ReviewDecision(action="reject", reviewer="acme", reason=item.question)

async def silent(item):
    return None

async def chatty(item):
    return "yes"

async def reviser(item):
    return ReviewDecision(action="edit", reviewer="acme", payload={"answer": 3})

def fails(settings):
    raise KeyError("secret-value")

def refuses(settings):
    raise SettingsInvalid("ACME_URL is not set")

def confused(settings):
    return ["weather"]

number = 3
"""
Install = Callable[..., None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Generator[Install]:
    """Put a package with entry points where Python finds it, as an installer does."""

    def put(package: str, **groups: str) -> None:
        site = tmp_path / package
        metadata = site / f"{package}-1.0.dist-info"
        metadata.mkdir(parents=True)
        (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        lines = [f"[chimera.{group}]\n{entries}\n" for group, entries in groups.items()]
        (metadata / "entry_points.txt").write_text("\n".join(lines))
        (site / f"{package}_plugin.py").write_text(CODE)
        monkeypatch.syspath_prepend(site)

    yield put
    for name in [name for name in sys.modules if name.endswith("_plugin")]:
        del sys.modules[name]


async def test_each_group_gives_what_it_promises(install: Install) -> None:
    """Servers, models and reviewers of an installed package, and nothing of it imported before it is wanted."""
    install(
        "acme",
        servers="weather = acme_plugin:servers",
        models="acme = acme_plugin:model",
        reviewers="acme = acme_plugin:reviewer",
    )
    settings = Settings()
    (found,) = plugins(SERVERS)
    chosen = plugin(MODELS, "acme")
    assert "acme_plugin" not in sys.modules
    (spec,) = found.make_all(settings, ServerSpec)
    assert (spec.name, spec.url) == ("weather", "https://example.com/mcp")
    assert isinstance(chosen.make(settings, BaseChatModel), BaseChatModel)
    item = ReviewItem(id="1", mission_id="2", point=ReviewPoint.QUALITY, question="Really?", payload={}, confidence=0.5)
    decision = await plugin(REVIEWERS, "acme").load()(item)
    assert (decision.action, decision.reason) == ("reject", "Really?")


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        ("gone = acme_nowhere:servers", "ModuleNotFoundError (acme_nowhere)"),
        ("gone = acme_plugin:nothing", "AttributeError"),
        ("number = acme_plugin:number", "cannot be called"),
        ("fails = acme_plugin:fails", "KeyError"),
        ("confused = acme_plugin:confused", "gives a list with a str instead of a list of ServerSpec"),
        ("confused = acme_plugin:model", "gives a OfflineModel instead of a list of ServerSpec"),
    ],
)
def test_a_broken_plug_in_is_named(install: Install, entry: str, why: str) -> None:
    """The error has a code, the plug-in's name, its package and its version, and nothing that may be secret."""
    install("acme", servers=entry)
    with pytest.raises(ConfigError) as raised:
        [found.make_all(Settings(), ServerSpec) for found in plugins(SERVERS)]
    name = entry.split(" ")[0]
    assert str(raised.value).startswith(f"CH200 plug-in chimera.servers:{name} of acme 1.0 ")
    assert why in str(raised.value)
    assert "secret" not in str(raised.value)


def test_an_error_of_ours_keeps_its_words(install: Install) -> None:
    """A plug-in may say with our errors what it needs."""
    install("acme", servers="refuses = acme_plugin:refuses")
    with pytest.raises(SettingsInvalid, match="ACME_URL is not set"):
        plugin(SERVERS, "refuses").make_all(Settings(), ServerSpec)


def test_unknown_and_ambiguous_names(install: Install) -> None:
    """A name that nobody has lists those that there are; one that two packages have is refused."""
    install("acme", reviewers="acme = acme_plugin:reviewer")
    with pytest.raises(ConfigError, match=r"no plug-in chimera\.reviewers:acne") as raised:
        plugin(REVIEWERS, "acne")
    assert "acme" in raised.value.hint
    install("bolt", reviewers="acme = bolt_plugin:reviewer")
    with pytest.raises(ConfigError, match="several packages"):
        plugins(REVIEWERS)
    assert plugins(SERVERS) == []


ITEM = ReviewItem(
    id="1",
    mission_id="2",
    point=ReviewPoint.QUALITY,
    question="Really?",
    payload={"kind": "result", "answer": "yes"},
    confidence=0.5,
)


async def test_a_plugged_in_reviewer_answers_or_leaves_it(install: Install) -> None:
    """What a command gets for the name is the plug-in."""
    install("acme", reviewers="acme = acme_plugin:reviewer\nsilent = acme_plugin:silent")
    known = reviewer_for("acme"), reviewer_for("silent")
    answers = [await reviewer(ITEM) for reviewer in known if reviewer]
    assert [answer and answer.reason for answer in answers] == ["Really?", None]


@pytest.mark.parametrize(
    ("reviewer", "why"),
    [
        ("chatty", "gives a str instead of a ReviewDecision"),
        ("reviser", "gives an answer that cannot be used: an edited result needs an answer"),
        ("fails", "failed: KeyError"),
    ],
)
async def test_a_broken_reviewer_is_named_and_answers_nothing(install: Install, reviewer: str, why: str) -> None:
    """An answer that nobody can use would be asked for without end."""
    install("acme", reviewers=f"{reviewer} = acme_plugin:{reviewer}")
    answer = plugged_in(reviewer)
    with pytest.raises(ConfigError) as raised:
        await answer(ITEM)
    assert str(raised.value) == f"CH200 plug-in chimera.reviewers:{reviewer} of acme 1.0 {why}"


def test_commands_know_the_names_of_installed_reviewers(install: Install) -> None:
    """The help lists them, a typo is told what there is, and nothing of a package is imported for that."""
    install("acme", reviewers="acme = acme_plugin:reviewer\nbroken = acme_plugin:nothing")
    for command in ("run", "demo", "resume", "fork", "replay"):
        shown = CliRunner().invoke(app, [command, "--help"], terminal_width=200)
        assert "--reviewer ask|scripted|none|acme|broken" in shown.stdout, command
    typo = CliRunner().invoke(app, ["run", "go", "--reviewer", "acne"])
    assert typo.exit_code == 2
    assert "'acne' is none of ask, scripted, none, acme, broken." in typo.stderr
    told = CliRunner().invoke(app, ["run", "go", "--json", "--reviewer", "acne"])
    assert (told.exit_code, json.loads(told.stdout)["error"]["code"]) == (2, "CH100")
    assert "acme_plugin" not in sys.modules


def test_what_is_plugged_in_is_used(install: Install) -> None:
    """A plugged-in server is connected beside our own, and a plugged-in model is chosen by its name."""
    install("acme", servers="weather = acme_plugin:servers", models="acme = acme_plugin:model")
    assert {spec.name for spec in tool_servers(Settings())} == {"files", "trends", "weather"}
    assert isinstance(choose_model("acme", Settings()), BaseChatModel)
