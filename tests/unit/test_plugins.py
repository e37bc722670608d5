"""Plug-ins by entry points, from packages that are really installed in a folder on the path. Proves FR-61.

Each group gives what it promises; whatever is broken is a coded error that names plug-in and package, never silence.
"""

import sys
from collections.abc import Callable, Generator
from pathlib import Path

import pytest
from langchain_core.language_models import BaseChatModel

from chimera.app import tool_servers
from chimera.core.contracts import ReviewItem, ReviewPoint
from chimera.core.errors import ConfigError, SettingsInvalid
from chimera.core.plugins import MODELS, REVIEWERS, SERVERS, plugin, plugins
from chimera.core.settings import Settings
from chimera.models.choose import choose_model
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


def test_what_is_plugged_in_is_used(install: Install) -> None:
    """A plugged-in server is connected beside our own, and a plugged-in model is chosen by its name."""
    install("acme", servers="weather = acme_plugin:servers", models="acme = acme_plugin:model")
    assert {spec.name for spec in tool_servers(Settings())} == {"files", "trends", "weather"}
    assert isinstance(choose_model("acme", Settings()), BaseChatModel)
