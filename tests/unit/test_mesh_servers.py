"""Proves that the list of tool servers is read strictly, takes secrets from the environment only, and shows none."""

import json
from pathlib import Path

import pytest

from chimera.core.errors import SettingsInvalid
from chimera.core.settings import Settings
from chimera.tools.mesh.mesh import ToolMesh
from chimera.tools.mesh.servers import configured, first_party


def settings(folder: Path, servers: object) -> Settings:
    file = folder / "servers.json"
    file.write_text(servers if isinstance(servers, str) else json.dumps({"mcpServers": servers}))
    return Settings(home=folder, servers=file)


def test_both_transports_are_read_and_variables_are_filled_in(tmp_path: Path) -> None:
    given = settings(
        tmp_path,
        {
            "local": {"command": "npx", "args": ["-y", "${PACKAGE:-tool}"], "env": {"KEY": "${SECRET}"}, "cwd": "sub"},
            "remote": {
                "type": "http",
                "url": "https://example.com/mcp",
                "headers": {"Authorization": "Bearer ${SECRET}"},
            },
            "off": {"command": "nothing", "disabled": True},
        },
    )
    local, remote = configured(given, {"SECRET": "canary-1"})
    assert (local.transport, local.command, local.args, local.cwd) == ("stdio", "npx", ["-y", "tool"], tmp_path / "sub")
    assert local.env["KEY"].get_secret_value() == "canary-1"
    assert (remote.transport, remote.url) == ("http", "https://example.com/mcp")
    assert remote.headers["Authorization"].get_secret_value() == "Bearer canary-1"
    assert "canary-1" not in repr([local, remote])


def test_no_file_means_no_servers(tmp_path: Path) -> None:
    assert configured(Settings(home=tmp_path)) == []


@pytest.mark.parametrize(
    ("servers", "told"),
    [
        ("not json", "not JSON"),
        ('{"servers": {}}', "mcpServers"),
        ({"a": {}}, "stdio server has a command"),
        ({"a": {"command": "x", "url": "https://example.com"}}, "http server has no command"),
        ({"a": {"url": "ftp://example.com"}}, "http(s) url"),
        ({"a": {"type": "smoke", "url": "https://example.com"}}, "type"),
        ({"a": {"command": "x", "autoApprove": ["y"]}}, "autoApprove"),
        ({"A b": {"command": "x"}}, "lower-case"),
        ({"a_b": {"command": "x"}}, "lower-case"),
        ({"files": {"command": "x"}}, "server of Chimera itself"),
        ({"a": {"command": "x", "env": {"K": "${MISSING}"}}}, "MISSING"),
        ({"a": {"command": "x", "env": {"K": "${NESTED}"}}}, "must not hold"),
    ],
)
def test_a_wrong_entry_is_one_line_that_names_it_and_shows_no_value(tmp_path: Path, servers: object, told: str) -> None:
    with pytest.raises(SettingsInvalid) as caught:
        configured(settings(tmp_path, servers), {"NESTED": "canary-${HOME}"})
    assert told in caught.value.message
    assert "canary" not in caught.value.message
    assert "\n" not in caught.value.message


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsInvalid, match=r"nowhere\.json"):
        configured(Settings(home=tmp_path, servers=tmp_path / "nowhere.json"))


def test_our_own_servers_get_the_artifact_folder_and_none_of_our_secrets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHIMERA_MODEL_API_KEY", "canary-2")
    specs = first_party(Settings(home=tmp_path))
    assert [spec.name for spec in specs] == ["files", "trends"]
    for spec in specs:
        values = {name: value.get_secret_value() for name, value in spec.env.items()}
        assert values["CHIMERA_ARTIFACTS"] == str(tmp_path / "artifacts")
        assert "canary-2" not in values.values()
        assert "-P" in spec.args, "the working folder must not be on the import path"


def test_two_servers_of_one_name_are_refused(tmp_path: Path) -> None:
    given = Settings(home=tmp_path)
    with pytest.raises(SettingsInvalid, match="same name"):
        ToolMesh([*first_party(given), *first_party(given)], given)
