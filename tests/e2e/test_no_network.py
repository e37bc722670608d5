"""The main job reaches for nothing outside the machine: no download, no telemetry. Proves META-5, META-14."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

# Every attempt of the process to look a name up or to connect, whoever makes it, is written down by the interpreter.
WATCHED = """
import atexit, json, sys
seen = []

def hook(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.sendto"):
        seen.append([event, repr(arguments[1] if event != "socket.getaddrinfo" else arguments[0])])

sys.addaudithook(hook)
atexit.register(lambda: open(sys.argv.pop(), "w").write(json.dumps(seen)))
record = sys.argv[-1]
sys.argv = ["chimera", "demo"]
from chimera.cli.main import app
try:
    app()
finally:
    sys.argv.append(record)
"""


def test_the_demo_connects_to_nothing_but_the_embedded_servers(
    tmp_path: Path, child_environment: Callable[..., dict[str, str]]
) -> None:
    """Each connection is a unix socket, or loopback."""
    record = tmp_path / "seen.json"
    done = subprocess.run(
        [sys.executable, "-c", WATCHED, str(record)],
        env=child_environment(),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=55,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    seen = json.loads(record.read_text())
    assert seen, "the embedded servers were not even reached, so nothing was watched"
    outside = [entry for entry in seen if not ("/" in entry[1] or "127.0.0.1" in entry[1] or "localhost" in entry[1])]
    assert not outside
