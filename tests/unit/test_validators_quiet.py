"""guardrails-ai is imported only where it is used, and then says nothing to anybody.

Proves FR-117: no look-up of a name and no connection on import, validation and exit, though the user's settings file
asks for metrics; nothing is written to the home folder; the program's own settings of OpenTelemetry stay.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.timeout(240)  # the import of the library takes seconds, many on a busy machine

WATCHED = """
import asyncio, json, os, sys
seen = []

def hook(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.sendto", "socket.gethostbyname"):
        seen.append([event, repr(arguments)])

sys.addaudithook(hook)
import chimera
from chimera import ChimeraSwarm, SecurityGateway
import chimera.app, chimera.guards.validators.adapter, chimera.guards.validators.publish
early = [name for name in sys.modules if name.partition(".")[0] in ("guardrails", "guardrails_ai", "litellm")]
from chimera.guards.request import Edge, GuardRequest
from chimera.guards.validators.publish import publish_edge_guard

async def main():
    guard = publish_edge_guard(disclosure=False)
    await guard.prepare()
    return [await guard.check(GuardRequest(edge=Edge.PUBLISH, payload={"text": text}))
            for text in ("plain words", "ask jane@corp.io", "![a](https://evil.io/x)")]

said = asyncio.run(main())
from guardrails import Guard
from guardrails.utils.hub_telemetry_utils import HubTelemetry
Guard().validate("x")
actions = [decision.action if decision else "allow" for decision in said]
told = {"early": early, "actions": actions, "metrics": HubTelemetry()._enabled,
        "otel": os.environ.get("OTEL_SDK_DISABLED"), "seen": seen}

import atexit  # registered last, so that it runs before what the library leaves for the end
@atexit.register
def write():
    print(json.dumps(told))
"""


@pytest.mark.long
def test_no_word_leaves_the_process(tmp_path: Path) -> None:
    (tmp_path / ".guardrailsrc").write_text("id=someone\nenable_metrics=true\n")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "GUARDRAILS_"))}
    environment |= {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    done = subprocess.run(
        [sys.executable, "-c", WATCHED],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["early"] == []
    assert told["actions"] == ["allow", "edit", "edit"]
    assert told["metrics"] is False
    assert told["otel"] is None
    assert told["seen"] == []
    written = {path.name for path in tmp_path.iterdir()}
    assert written <= {".guardrailsrc", "cache"}, written
    assert "metrics=true" in (tmp_path / ".guardrailsrc").read_text()
