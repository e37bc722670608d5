"""The package holds its own rules: lock, reasons, root links and layers say what the design says.

Proves that an install is the same everywhere (every declared requirement is pinned with hashes, nothing in the lock is
left over, no address is named), that every dependency states why it is here, and that the layer contract is whole.

Proves META-7, META-8, META-9, META-12, META-13.
"""

import hashlib
import importlib.metadata
import re
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
LOCK = (ROOT / "requirements.lock").read_text(encoding="utf-8")
PYPROJECT = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
LINKS = ("graphs", "nodes", "tools", "guards", "evals")
# DESIGN: top to bottom; a layer imports only those below it, rooms on one line do not import each other.
LAYERS = (
    {"cli"},
    {"server"},
    {"bench", "sim", "evals"},
    {"sync"},
    {"swarm"},
    {"timetravel"},
    {"app"},
    {"graphs"},
    {"nodes"},
    {"fleet", "network", "skills"},
    {"guards"},
    {"tools", "commerce", "review", "memory"},
    {"models", "store"},
    {"core"},
)


def config() -> dict[str, Any]:
    return tomllib.loads(PYPROJECT)


def declared() -> list[Requirement]:
    """Every requirement of the package, its extras and the development group, that holds on this platform."""
    project = config()["project"]
    lines = [*project["dependencies"], *config()["dependency-groups"]["dev"]]
    for extra in project["optional-dependencies"].values():
        lines += extra
    found = map(Requirement, lines)
    return [requirement for requirement in found if requirement.marker is None or requirement.marker.evaluate()]


def locked() -> dict[str, str]:
    """Name to version, for the packages of the lock that this platform installs."""
    found: dict[str, str] = {}
    for line in re.findall(r"^[A-Za-z0-9].*==.*$", LOCK, re.MULTILINE):
        requirement = Requirement(line.removesuffix(" \\"))
        if requirement.marker is None or requirement.marker.evaluate():
            found[canonicalize_name(requirement.name)] = str(requirement.specifier).removeprefix("==")
    return found


def needed_by(requirement: Requirement) -> Iterator[Requirement]:
    """What an installed package asks for, with the extras that are asked of it."""
    for line in importlib.metadata.distribution(requirement.name).requires or []:
        child = Requirement(line)
        if child.marker is None or any(child.marker.evaluate({"extra": extra}) for extra in {"", *requirement.extras}):
            yield child


def closure(roots: list[Requirement]) -> set[str]:
    names: set[str] = set()
    seen: set[tuple[str, frozenset[str]]] = set()
    queue = list(roots)
    while queue:
        requirement = queue.pop()
        key = (canonicalize_name(requirement.name), frozenset(requirement.extras))
        if key not in seen:
            seen.add(key)
            names.add(key[0])
            queue += needed_by(requirement)
    return names


def test_the_lock_is_made_of_pins_and_hashes_and_names_no_address() -> None:
    assert "://" not in LOCK
    line = re.compile(r"[a-z0-9][a-z0-9._-]*==[^/@]+ \\|    --hash=sha256:[0-9a-f]{64}(?: \\)?|#[^/]*")
    assert [text for text in LOCK.splitlines() if not line.fullmatch(text)] == []


def test_every_locked_version_has_hashes() -> None:
    stanzas = re.split(r"\n(?=[A-Za-z0-9])", LOCK)[1:]
    assert len(stanzas) > 100
    assert [stanza.split("==")[0] for stanza in stanzas if "--hash=sha256:" not in stanza] == []


def test_every_declared_requirement_is_locked_at_a_version_it_allows() -> None:
    versions = locked()
    wrong = [
        f"{requirement} (locked: {versions.get(canonicalize_name(requirement.name))})"
        for requirement in declared()
        if versions.get(canonicalize_name(requirement.name), "absent") not in requirement.specifier
    ]
    assert wrong == [], "run `make lock`"


def test_the_lock_holds_what_is_needed_and_nothing_else() -> None:
    needed, versions = closure(declared()), set(locked())
    assert needed - versions == set(), "missing from the lock: run `make lock`"
    assert versions - needed == set(), "left over in the lock: run `make lock`"


def test_installed_versions_are_the_locked_ones() -> None:
    wrong = {
        name: (version, importlib.metadata.version(name))
        for name, version in locked().items()
        if importlib.metadata.version(name) != version
    }
    assert wrong == {}, "run `make setup`"


def test_every_dependency_line_says_why_it_is_there() -> None:
    lines = [line.strip() for line in PYPROJECT.splitlines()]
    names = {canonicalize_name(requirement.name) for requirement in declared()}
    stated: set[str] = set()
    for line in lines:
        match = re.fullmatch(r'"([A-Za-z0-9._-]+)[^"]*",\s*#\s*(\S.{9,})', line)
        if match:
            stated.add(canonicalize_name(match[1]))
    assert names - stated == set()


@pytest.mark.parametrize("name", LINKS)
def test_root_link_leads_to_its_room(name: str) -> None:
    link = ROOT / name
    if not link.is_symlink() and link.is_file():
        pytest.skip("this checkout has no symbolic links (core.symlinks=false)")
    assert link.readlink() == Path("chimera") / name
    assert (link / "__init__.py").is_file()


@pytest.mark.parametrize("name", [*LINKS, "tests"])
def test_lint_refuses_the_second_copy_of_a_room(name: str) -> None:
    assert name in config()["tool"]["ruff"]["lint"]["flake8-tidy-imports"]["banned-api"]


def test_git_tracks_no_file_that_writes_addresses() -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    done = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, timeout=20, check=True)
    names = {Path(line).name for line in done.stdout.splitlines()}
    assert "requirements.lock" in names
    assert names.isdisjoint({"uv.lock", "poetry.lock", "package-lock.json", "yarn.lock", "pnpm-lock.yaml"})


def test_the_layer_contract_is_the_design() -> None:
    (contract,) = (item for item in config()["tool"]["importlinter"]["contracts"] if item["id"] == "layers")
    stated = [{room.strip(" ()") for room in layer.split("|")} for layer in contract["layers"]]
    assert stated == list(LAYERS)
    assert contract["containers"] == ["chimera"]
    assert contract["exhaustive"]
    assert "ignore_imports" not in contract


def test_tests_never_load_the_plugins_that_change_a_run() -> None:
    options = config()["tool"]["pytest"]["ini_options"]["addopts"]
    for plugin in ("deepeval", "langsmith_plugin", "repeat", "rerunfailures"):
        assert f"no:{plugin}" in options


def test_the_wheel_installs_one_name_and_carries_the_specs(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, capture_output=True, timeout=50, check=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        entry_points = archive.read(next(name for name in names if name.endswith("/entry_points.txt"))).decode()
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {"chimera"}
    assert "chimera/py.typed" in names
    assert {f"chimera/_specs/{spec.name}" for spec in (ROOT / "specs").glob("*.md")} <= set(names)
    assert "chimera = chimera.cli.main:app" in entry_points


def test_the_licence_and_the_way_to_report_a_hole_are_there() -> None:
    assert "Apache License" in (ROOT / "LICENSE").read_text("utf-8")[:200]
    assert config()["project"]["license"] == "Apache-2.0"
    assert "report" in (ROOT / "SECURITY.md").read_text("utf-8").lower()


def test_types_are_strict_in_code_and_tests() -> None:
    pyright = config()["tool"]["pyright"]
    assert pyright["typeCheckingMode"] == "strict"
    assert {"chimera", "tests"} <= set(pyright["include"])
    makefile = (ROOT / "Makefile").read_text("utf-8")
    check = makefile.split("\ncheck:")[1].split("\n\n")[0]
    assert all(tool in check for tool in ("ruff check", "ruff format --check", "lint-imports", "pyright"))


def test_the_readme_says_what_was_tested_and_what_was_not() -> None:
    platforms = (ROOT / "README.md").read_text("utf-8").split("## Platforms")[1]
    assert "Tested on Linux x86-64" in platforms
    assert "was not run" in platforms


def test_what_browsers_get_of_others_is_what_its_makers_published() -> None:
    """``SHA256SUMS`` beside the files was made from the packages of the npm registry."""
    vendor = ROOT / "chimera" / "server" / "pages" / "static" / "vendor"
    lines = [line.split() for line in (vendor / "SHA256SUMS").read_text(encoding="utf-8").splitlines()]
    told = {name: digest for digest, name in lines}
    found = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in vendor.glob("*.*s")}
    assert found == told
    assert {name.rpartition("-")[0] for name in told} == {"htmx", "sse", "uplot"}
