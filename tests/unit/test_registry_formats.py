"""Files of tool servers in other people's forms become entries of the registry, and secrets never do.

Proves FR-500, FR-501, FR-502, FR-503: each known form is read, also the real catalogues; a secret's value is refused
wherever it can stand; a version that moves is refused; every refusal names file, entry and remedy.
"""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from chimera.core.errors import InputError, SettingsInvalid
from chimera.tools.registry.formats.reading import Read, read_file
from chimera.tools.registry.model import Auth, ServerEntry
from chimera.tools.registry.secrets import looks_secret, placeholder, value_problem
from chimera.tools.registry.serving import missing, to_spec

KEY = "sk_" + "live_4eC39HqLyjWDarjtT1zdp7dc"  # in two pieces, so that nobody's scanner takes it for one


def read(folder: Path, document: Any, **options: str) -> Read:
    file = folder / "servers.json"
    file.write_text(json.dumps(document), "utf-8")
    return read_file(file, **options)


def one(folder: Path, document: Any, **options: str) -> ServerEntry:
    (entry,) = read(folder, document, **options).entries
    return entry


def claude(command: str, *args: str, **more: Any) -> dict[str, Any]:
    return {"mcpServers": {"Shop": {"command": command, "args": list(args), **more}}}


@pytest.mark.parametrize(
    ("given", "identity", "version", "runs"),
    [
        (("npx", "-y", "@acme/shop@1.2.3", "--read"), "npm:@acme/shop", "1.2.3", ["npx", "-y", "@acme/shop@1.2.3"]),
        (("uvx", "shop-mcp==2.0"), "pypi:shop-mcp", "2.0", ["uvx", "--from", "shop-mcp==2.0", "shop-mcp"]),
        (
            ("uvx", "--from", "shop-mcp==2.0", "--with", "mcp<2", "serve"),
            "pypi:shop-mcp",
            "2.0",
            ["uvx", "--from", "shop-mcp==2.0", "--with", "mcp<2", "serve"],
        ),
        (("docker", "run", "-i", "--rm", "-e", "A", "acme/shop:7"), "oci:acme/shop", "7", None),
    ],
)
def test_commands_of_package_runners_become_packages_with_their_version(
    tmp_path: Path, given: tuple[str, ...], identity: str, version: str, runs: list[str] | None
) -> None:
    entry = one(tmp_path, claude(*given))
    assert (entry.name, entry.identity, entry.version) == ("shop", identity, version)
    assert runs is None or (entry.package is not None and entry.package.command() == runs)


@pytest.mark.parametrize(
    "given",
    [("npx", "-y", "shop"), ("npx", "-y", "shop@latest"), ("uvx", "shop"), ("uvx", "shop>=2"), ("docker", "run", "x")],
)
def test_what_can_change_under_its_name_is_refused(tmp_path: Path, given: tuple[str, ...]) -> None:
    with pytest.raises(InputError, match=r"servers\.json: Shop: .*version") as refused:
        read(tmp_path, claude(*given))
    assert "exact version" in refused.value.hint


@pytest.mark.parametrize(
    "entry",
    [
        {"command": "npx", "args": ["shop@1.0.0"], "env": {"SHOP_API_KEY": "abc"}},
        {"command": "npx", "args": ["shop@1.0.0"], "env": {"OPTION": KEY}},
        {"command": "npx", "args": ["shop@1.0.0", f"--api-key={KEY}"]},
        {"command": "npx", "args": ["shop@1.0.0", KEY]},
        {"command": "serve", "args": ["postgres://user:hunter2@db.example.com/x"]},
        {"url": "https://shop.example.com/mcp", "headers": {"Authorization": "Bearer abcdefghijklmnop"}},
        {"url": "https://shop.example.com/mcp?api_key=abcdef"},
        {"url": "https://user:hunter2@shop.example.com/mcp"},
        {"command": "npx", "args": ["shop@1.0.0"], "env": {"TOKEN": f"${{TOKEN:-{KEY}}}"}},
    ],
)
def test_a_secret_is_refused_wherever_it_stands_and_not_repeated(tmp_path: Path, entry: dict[str, Any]) -> None:
    with pytest.raises(InputError) as refused:
        read(tmp_path, {"mcpServers": {"shop": entry}})
    told = f"{refused.value} {refused.value.hint}"
    assert "${" in told
    assert not any(secret in told for secret in (KEY, "hunter2", "abcdefghijklmnop", "abcdef"))


def test_names_references_and_placeholders_are_no_secrets(tmp_path: Path) -> None:
    env = {"SHOP_KEY": "${SHOP_KEY}", "SHOP_TOKEN": "YOUR_TOKEN_HERE", "LOG_LEVEL": "debug", "PASSWORD": "<password>"}
    entry = one(tmp_path, claude("npx", "shop@1.0.0", env=env))
    assert {item.name: item.value for item in entry.env} == {
        "SHOP_KEY": "${SHOP_KEY}",
        "SHOP_TOKEN": "",
        "LOG_LEVEL": "debug",
        "PASSWORD": "",
    }
    assert entry.names() == ["PASSWORD", "SHOP_KEY", "SHOP_TOKEN"]


def test_words_and_paths_are_not_taken_for_secrets() -> None:
    for text in ("/usr/local/share/applications", "text-embedding-3-small", "https://example.com/a/b", "production"):
        assert not looks_secret(text)
    assert looks_secret(KEY)
    assert placeholder("your-api-key-here")
    assert not placeholder("production")
    assert value_problem("PORT", "8080") is None


def test_server_json_of_either_generation(tmp_path: Path) -> None:
    new = {
        "name": "io.github.acme/shop",
        "version": "1.0.0",
        "packages": [
            {
                "registryType": "npm",
                "identifier": "@acme/shop",
                "version": "1.2.3",
                "environmentVariables": [{"name": "SHOP_KEY", "isRequired": True, "isSecret": True}],
                "packageArguments": [{"type": "named", "name": "--mode", "value": "read"}],
            }
        ],
    }
    old = {
        "name": "io.github.acme/shop",
        "packages": [
            {
                "registry_name": "pypi",
                "name": "shop-mcp",
                "version": "2.0",
                "environment_variables": [{"name": "SHOP_KEY"}],
            }
        ],
    }
    entry = one(tmp_path, {"servers": [{"server": new}]})
    assert (entry.name, entry.identity, entry.args) == ("shop", "npm:@acme/shop", ["--mode", "read"])
    assert (entry.env[0].name, entry.env[0].secret) == ("SHOP_KEY", True)
    assert one(tmp_path, [old]).identity == "pypi:shop-mcp"
    remote = {
        "name": "a/b",
        "version": "3.0.0",
        "remotes": [{"type": "streamable-http", "url": "https://b.example.com"}],
    }
    assert one(tmp_path, remote).urls == ["https://b.example.com"]


def test_docker_and_toolsdk_entries(tmp_path: Path) -> None:
    image = {"shop": {"image": f"mcp/shop@sha256:{'a' * 64}", "secrets": [{"name": "shop.key", "env": "SHOP_KEY"}]}}
    entry = one(tmp_path, {"registry": image})
    spec = to_spec(entry, {"SHOP_KEY": "value"})
    assert [spec.command, *spec.args] == [
        "docker",
        "run",
        "-i",
        "--rm",
        "-e",
        "SHOP_KEY",
        f"mcp/shop@sha256:{'a' * 64}",
    ]
    tool = {"packageName": "shop-mcp", "runtime": "python", "name": "Shop", "env": {"KEY": {"required": True}}}
    with pytest.raises(InputError, match="names no version"):
        read(tmp_path, [tool])
    assert one(tmp_path, [tool], version="1.0.1").identity == "pypi:shop-mcp"


def test_our_own_form_comes_back_as_it_was_written(tmp_path: Path) -> None:
    entry = one(tmp_path, claude("npx", "@acme/shop@1.2.3", env={"SHOP_KEY": "${SHOP_KEY}"}))
    assert one(tmp_path, [entry.plain()]) == entry
    assert one(tmp_path, [entry.plain()], name="market").name == "market"


def test_one_bad_entry_does_not_lose_the_others_and_is_told(tmp_path: Path) -> None:
    good = {"command": "npx", "args": ["shop@1.0.0"]}
    found = read(tmp_path, {"mcpServers": {"good": good, "bad": {"command": "npx", "args": ["shop"]}}})
    assert [entry.name for entry in found.entries] == ["good"]
    (bad,) = found.refused
    assert bad.entry == "bad"
    assert "exact version" in bad.why
    assert bad.remedy


@pytest.mark.parametrize(("text", "why"), [("{", "neither JSON"), ("[1]", "none of the known"), ("\x00", "neither")])
def test_a_file_of_no_known_form_is_told(tmp_path: Path, text: str, why: str) -> None:
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(InputError, match=why):
        read_file(tmp_path / "x.json")
    with pytest.raises(InputError, match="cannot be read"):
        read_file(tmp_path / "absent.json")


def test_values_come_from_the_environment_when_a_server_is_started_and_only_then(tmp_path: Path) -> None:
    document = {"mcpServers": {"shop": {"url": "https://shop.example.com/mcp", "headers": {"X-Key": "${SHOP_KEY}"}}}}
    entry = one(tmp_path, document)
    assert missing(entry, {}) == ["SHOP_KEY"]
    with pytest.raises(SettingsInvalid, match="needs SHOP_KEY"):
        to_spec(entry, {})
    spec = to_spec(entry, {"SHOP_KEY": "v4lu3"})
    assert spec.headers["X-Key"].get_secret_value() == "v4lu3"
    assert "v4lu3" not in json.dumps(entry.plain())


def test_authorisation_is_given_by_names_of_variables() -> None:
    base = {
        "name": "x",
        "version": "1",
        "transport": "http",
        "urls": ["https://x.example.com"],
        "origin": {"source": "t"},
    }
    bearer = ServerEntry.model_validate({**base, "auth": {"kind": "bearer", "secret": "X_TOKEN"}})
    assert to_spec(bearer, {"X_TOKEN": "t"}).headers["Authorization"].get_secret_value() == "Bearer t"
    named = ServerEntry.model_validate({**base, "auth": {"kind": "header", "header": "X-Key", "secret": "X_KEY"}})
    assert to_spec(named, {"X_KEY": "k"}).headers["X-Key"].get_secret_value() == "k"
    oauth = Auth(kind="oauth", token_url="https://x.example.com/t", client_id="ID", client_secret="S")
    assert oauth.names() == ["ID", "S"]
    with pytest.raises(ValueError, match="secret"):
        Auth(kind="bearer", secret=KEY + "-")
    with pytest.raises(ValueError, match="lacks a part"):
        Auth(kind="oauth", client_id="ID")


@pytest.mark.skipif("CHIMERA_DATA" not in os.environ, reason="CHIMERA_DATA is not set")
@pytest.mark.parametrize(
    ("name", "version", "least"),
    [
        ("official_seed_2025_05_16.json", "", 110),
        ("docker_servers.json", "", 310),
        ("toolsdk_servers.jsonl", "1.0", 4_000),
    ],
)
def test_the_real_catalogues_are_read(name: str, version: str, least: int) -> None:
    found = read_file(Path(os.environ["CHIMERA_DATA"]) / "catalogue" / name, version=version)
    assert len(found.entries) >= least
    assert all(refused.entry and refused.why and refused.remedy for refused in found.refused)
