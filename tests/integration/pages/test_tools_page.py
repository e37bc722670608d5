"""The pages of tools over real HTTP: the mesh, the registry, pins and changes.

Proves FR-789 and FR-788.
"""

from collections.abc import Generator
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from chimera.store.pins import PinStore
from chimera.tools.registry.model import ServerEntry
from chimera.tools.registry.registry import Registry

if TYPE_CHECKING:
    from conftest import Site

EVIL = "<img src=x onerror=alert(1)>"
ENTRY: dict[str, Any] = {
    "name": "kiosk",
    "version": "1.2.3",
    "description": f"Sells {EVIL}",
    "transport": "stdio",
    "command": "kiosk",
    "risk": "high",
    "origin": {"source": "test"},
    "offers": [{"kind": "tool", "name": "sell", "description": f"Sell {EVIL}"}],
}


@pytest.fixture(autouse=True)
def kiosk(site: "Site") -> Generator[None]:
    """A server that is registered, one of whose tools is pinned; other tests do not find it."""
    app = site.app
    registry, pins = Registry(app.pool, app.context.audit, app.context.clock), PinStore(app.pool)
    entry = ServerEntry.model_validate(ENTRY)

    async def make() -> None:
        await registry.add(entry, "ada")
        async with app.pool.connection() as connection, connection.transaction():
            defined = {"sell": ("d1" * 32, {"description": EVIL})}
            await pins.pin(connection, entry.identity, entry.version, defined, "ada", app.context.clock.now())

    site.do(make())
    yield
    with psycopg.connect(site.database_url) as connection:
        connection.execute("DELETE FROM tool_pins WHERE identity = %s", (entry.identity,))
        connection.execute("DELETE FROM tool_servers WHERE name = %s", (entry.name,))


def test_servers_are_shown_with_what_is_pinned(site: "Site") -> None:
    """Proves FR-789: state, version, risk, effect and pin; what a server says stays text."""
    ada = site.visitor("ada")
    listed, one = ada.get("/tools").text, ada.get("/tools/kiosk").text
    for status in site.app.mesh.status():
        assert f'<th scope="row">{status.name}</th>' in listed
    assert '<a href="/tools/kiosk">kiosk</a>' in listed
    for said in ("1.2.3", "risk high", "sell", "d1d1d1d1d1d1", "by ada"):
        assert said in one, said
    assert EVIL not in listed + one
    assert ada.get("/tools/nothing").status_code == 422


def test_who_sees_the_tools(site: "Site") -> None:
    """Proves FR-788: who runs the installation, by role."""
    seen = {role: site.visitor(f"tools {role}", role).get("/tools").status_code for role in ("auditor", "reviewer")}
    assert seen == {"auditor": 200, "reviewer": 403}
    stranger = site.visitor("eve", "operator", tenant="elsewhere")
    assert [stranger.get(path).status_code for path in ("/tools", "/tools/kiosk", "/tools/nothing")] == [403] * 3
