"""The boards over real HTTP: fleet, money, incidents and the record; by role, and within a tenant.

Proves FR-753 to FR-756 and FR-788, as each test says.
"""

import csv
import io
import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from chimera.commerce.assets import AssetStore, on_chain
from chimera.commerce.budgets import BudgetStore, Limit
from chimera.commerce.ledger import Ledger
from chimera.core.ids import random_ids
from chimera.store.audit import AuditEvent
from chimera.store.incidents import Incident, IncidentStore, Report
from chimera.store.postgres import fetch

if TYPE_CHECKING:
    from conftest import Site

EVIL = "<img src=x onerror=alert(1)>"
BOARDS = ("/fleet", "/money", "/incidents", "/audit")
TOKEN = on_chain("USDC", 31337, 6, "0x" + "ab" * 20)


def incident(site: "Site", tenant: str = "default", agent: str = "t1") -> Incident:
    """An incident that is open."""
    report = Report(tenant, None, agent, "research", "tool_call", "mcp.poisoned", "critical", [EVIL], agent, agent)
    opening = IncidentStore(site.app.pool).open(report, datetime.now(UTC), 5, timedelta(hours=1))
    return site.do(opening)[0]


def test_who_sees_which_board(site: "Site") -> None:
    """Proves FR-788 and FR-753: by role; the fleet only where the installation is run; all else is 403."""
    seen = {
        role: [site.visitor(f"board {role}", role).get(path).status_code for path in BOARDS]
        for role in ("operator", "security-officer", "auditor", "reviewer")
    }
    assert seen == {
        "operator": [200, 200, 200, 200],
        "security-officer": [200, 200, 200, 200],
        "auditor": [200, 200, 200, 200],
        "reviewer": [403, 200, 403, 403],
    }
    stranger = site.visitor("eve", "operator", tenant="elsewhere")
    assert [stranger.get(path).status_code for path in BOARDS] == [403, 200, 200, 200]
    assert stranger.get("/fleet/now").status_code == 403
    assert 'href="/fleet"' not in stranger.get("/money").text
    assert 'href="/audit"' not in site.visitor("board reviewer").get("/money").text
    for path in BOARDS:
        assert site.browser().get(path).headers["location"].startswith("/login?next=")


def test_the_fleet_is_shown_as_it_is(site: "Site") -> None:
    """Proves FR-753: every pool with its room, a worker with its lease, and where nothing is, what to do."""
    ada = site.visitor("ada")
    whole, now = ada.get("/fleet").text, ada.get("/fleet/now").text
    assert "<html" in whole
    assert "<html" not in now
    for name, room in site.rows("SELECT name, concurrency FROM pools"):
        assert re.search(rf'<th scope="row">{name}</th>.*?of {room}<', now, re.DOTALL)
    assert "chimera worker" in now
    site.rows(
        "INSERT INTO workers (id, epoch, state, engine, pools, concurrency, started_at, expires_at) "
        "VALUES ('board worker', 1, 'running', 'postgres', '{}', 7, now(), now() - interval '1 minute') RETURNING id"
    )
    lost = ada.get("/fleet/now").text
    assert re.search(r"board worker</th>.*?lost", lost, re.DOTALL)
    site.rows("DELETE FROM workers WHERE id = 'board worker' RETURNING id")


def test_money_is_exact_and_within_the_tenant(site: "Site") -> None:
    """Proves FR-754 and FR-788: budgets, balances, movements page by page, and CSV without formulas."""
    tenant, audit = "purse", site.app.context.audit
    pool, assets = site.app.pool, AssetStore(site.app.pool, site.app.context.audit)

    async def fill() -> None:
        await assets.add(TOKEN, "ada")
        await BudgetStore(pool, assets, audit).set(Limit(tenant, "agent", "=1+1", TOKEN, 12_345_678_901), "ada")
        ledger = Ledger(pool, assets, audit, random_ids())
        for number in range(103):
            await ledger.deposit(tenant, f"={EVIL}", TOKEN.id, 1_000_001, f"board {number}")

    site.do(fill())
    owner, stranger = site.visitor("pia", "reviewer", tenant=tenant), site.visitor("ada")
    page = owner.get("/money").text
    assert "12,345.678901" in page
    assert "103.000103" in page
    assert EVIL not in page
    first = re.findall(r'data-label="Row">(\d+)<', page)
    older = re.search(r'href="(/money\?before=\d+)"', page)
    assert older is not None
    rest = re.findall(r'data-label="Row">(\d+)<', owner.get(older[1]).text)
    assert [*first, *rest] == [str(number) for number in range(103, 0, -1)]
    text = owner.get("/money/statement.csv")
    assert text.headers["content-type"].startswith("text/csv")
    rows = list(csv.reader(io.StringIO(text.text)))
    assert len(rows) == 104
    assert not [cell for row in rows for cell in row if cell.startswith(("=", "+", "-", "@"))]
    assert "12,345.678901" not in stranger.get("/money").text
    assert EVIL not in stranger.get("/money/statement.csv").text


def test_an_incident_is_seen_and_released_by_who_may(site: "Site") -> None:
    """Proves FR-755 and FR-788: open ones first; another tenant's is unknown; an auditor looks and releases nothing."""
    mine, theirs = incident(site, agent=f"{EVIL} mine"), incident(site, "elsewhere", "t9")
    officer, auditor = site.visitor("olga", "security-officer"), site.visitor("board auditor", "auditor")
    listed = officer.get("/incidents").text
    assert f"/incidents/{mine.id}" in listed
    assert f"/incidents/{theirs.id}" not in listed
    one = officer.get(f"/incidents/{mine.id}")
    assert one.status_code == 200
    assert EVIL not in listed + one.text
    unknown = [officer.get(f"/incidents/{named}") for named in (theirs.id, str(uuid4()), mine.id[:8], "x")]
    assert {(found.status_code, found.text) for found in unknown} == {(422, unknown[0].text)}
    path = f"/incidents/{mine.id}/release"
    assert auditor.post(path, reason="why not").status_code == 403
    assert officer.post(f"/incidents/{theirs.id}/release", reason="why not").status_code == 422
    assert officer.post(path, reason="").status_code == 422
    assert officer.client.post(path, data={"reason": "no form of ours"}).status_code == 403
    assert f"/incidents/{mine.id}" in officer.get("/incidents").text
    assert officer.post(path, reason="looked at it").status_code == 303
    assert officer.post(path, reason="again").status_code == 409
    assert f"/incidents/{mine.id}" not in officer.get("/incidents").text
    assert "by olga: looked at it" in officer.get(f"/incidents/{mine.id}").text
    assert f"/incidents/{mine.id}" in officer.get("/incidents?all=1").text


def numbers(page: str) -> list[int]:
    """The numbers of the events on a page."""
    return [int(found) for found in re.findall(r'data-label="Number">(\d+)<', page)]


def test_the_record_is_searched_page_by_page(site: "Site", monkeypatch: pytest.MonkeyPatch) -> None:
    """Proves FR-756 and FR-788: by kind, mission and words; a stretch at a time; and only the visitor's tenant."""
    tenant, mission = "recorded", str(uuid4())

    async def write() -> None:
        for number in range(120):
            kind, about = ("tool.called", mission) if number % 3 == 0 else ("guard.decided", None)
            said: dict[str, Any] = {"note": f"{EVIL} {'needle' if number == 7 else 'hay'} {number}"}
            await site.app.context.audit.append(AuditEvent(kind, "t1", about, tenant, said))

    site.do(write())
    reader = site.visitor("rita", "auditor", tenant=tenant)
    page = reader.get("/audit").text
    assert EVIL not in page
    assert "does not fit" not in page
    first = numbers(page)
    older = re.search(r'href="(/audit\?[^"]*before=\d+)"', page)
    assert older is not None
    rest = numbers(reader.get(older[1].replace("&amp;", "&")).text)
    found = [*first, *rest]
    assert len(first) == 100
    assert found == sorted(found, reverse=True)
    assert len(set(found)) == len(found) >= 120
    kinds = numbers(reader.get("/audit?kind=tool.called").text)
    assert kinds == numbers(reader.get(f"/audit?mission={mission}").text)
    assert len(kinds) == 40
    (needle,) = numbers(reader.get("/audit?words=NEEDLE").text)
    monkeypatch.setattr("chimera.store.audit.search.STRETCH", 50)
    looked = reader.get("/audit?words=needle").text
    assert numbers(looked) == []
    assert "so far" in looked
    for _ in range(3):
        further = re.search(r'href="(/audit\?[^"]*before=\d+)"[^>]*>Look further back', looked)
        if further is None:
            break
        looked = reader.get(further[1].replace("&amp;", "&")).text
        if numbers(looked):
            break
    assert numbers(looked) == [needle]
    assert reader.get("/audit?mission=1").status_code == 422
    assert numbers(site.visitor("ada").get(f"/audit?mission={mission}").text) == []


def test_an_event_that_was_changed_is_marked(site: "Site") -> None:
    """Proves FR-756: its hash is computed anew."""
    tenant = "changed"

    async def forge() -> None:
        await site.app.context.audit.append(AuditEvent("tool.called", "t1", None, tenant, {"note": "true"}))
        async with site.app.pool.connection() as connection, connection.transaction():
            await connection.execute("ALTER TABLE audit_events DISABLE TRIGGER USER")
            await connection.execute(
                "UPDATE audit_events SET body = replace(body, 'true', 'false') WHERE tenant = %s", (tenant,)
            )
            await connection.execute("ALTER TABLE audit_events ENABLE TRIGGER USER")

    reader = site.visitor("rolf", "auditor", tenant=tenant)
    assert "does not fit its hash" not in reader.get("/audit").text
    site.do(forge())
    assert "does not fit its hash" in reader.get("/audit").text


def test_a_search_of_one_kind_uses_its_index(site: "Site") -> None:
    """Proves FR-756: the newest of a kind are found without walking past all others."""

    async def plan() -> str:
        query = "EXPLAIN SELECT seq FROM audit_events WHERE tenant = %s AND kind = %s ORDER BY seq DESC LIMIT 100"
        async with site.app.pool.connection() as connection, connection.transaction():
            await connection.execute("SET LOCAL enable_seqscan = off")
            rows = await (await connection.execute(query, ("recorded", "tool.called"))).fetchall()
            return "\n".join(str(row["QUERY PLAN"]) for row in rows)

    assert "audit_events_by_kind" in site.do(plan())
    assert site.do(fetch(site.app.pool, "SELECT 1 AS one")) == [{"one": 1}]
