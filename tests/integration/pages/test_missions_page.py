"""The pages of missions over real HTTP: listed, shown, begun and stopped, within a tenant.

Proves FR-752 and FR-788, as each test says.
"""

import re
import time
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from chimera.core.contracts import Mission, Plan, TaskResult, Verdict

if TYPE_CHECKING:
    from conftest import Site

EVIL = "<img src=x onerror=alert(1)>"
PATIENCE_S = 30


def planned(site: "Site", tenant: str = "default", goal: str = f"Brief me {EVIL}") -> str:
    """A mission with two tasks, of which one is done."""
    mission_id, mission = str(uuid4()), Mission(goal=goal, tenant=tenant)
    tasks: list[dict[str, Any]] = [
        {"id": "t1", "title": f"Read {EVIL}", "instruction": "Read the feeds.", "tools": ["feeds__read"]},
        {"id": "t2", "title": "Write", "instruction": "Write it up.", "depends_on": ["t1"]},
    ]

    async def make() -> None:
        missions = site.app.context.missions
        await missions.create(mission_id, mission)
        plan = Plan.model_validate({"tasks": tasks})
        await missions.plan_tasks(mission_id, "team-1", 0, plan, mission.context_version)
        await missions.start_task(mission_id, "team-1", 0, "t1", 1)
        done = TaskResult(task_id="t1", status="done", answer=f"Found {EVIL}", context_version=mission.context_version)
        verdict = Verdict(outcome="approve", confidence=0.91, reasons=[f"cited {EVIL}"])
        assert await missions.commit_task(mission_id, "team-1", 0, "done", done, verdict)

    site.do(make())
    return mission_id


def status(site: "Site", mission: str) -> str:
    """Where a mission stands."""
    return str(site.rows("SELECT status FROM missions WHERE id = %s", mission)[0][0])


def test_a_mission_is_shown_as_a_tree(site: "Site") -> None:
    """Proves FR-752: teams, tasks, verdicts and answers; words of agents stay text."""
    mission, ada = planned(site), site.visitor("ada")
    page = ada.get(f"/missions/{mission}").text
    assert EVIL not in page
    for said in ("team-1", "1 of 2", "approve, 91 % sure", "after t1", "may use feeds__read", "Found &lt;img"):
        assert said in page, said
    assert mission in ada.get("/missions").text
    assert mission in ada.get("/missions?status=running").text
    assert mission not in ada.get("/missions?status=done").text
    assert ada.get("/missions?status=nonsense").status_code == 422


def test_a_page_is_renewed_where_something_changed(site: "Site") -> None:
    """Proves FR-752: nothing is sent for what the page shows already."""
    mission, ada = planned(site), site.visitor("ada")
    found = re.search(r'hx-get="(/missions/[^"]+)"', ada.get(f"/missions/{mission}").text)
    assert found is not None
    assert ada.get(found[1]).status_code == 204
    site.do(site.app.context.missions.start_task(mission, "team-1", 0, "t2", 1))
    renewed = ada.get(found[1])
    assert renewed.status_code == 200
    assert "<html" not in renewed.text
    assert found[1] not in renewed.text


def test_another_tenant_knows_of_no_mission(site: "Site") -> None:
    """Proves FR-752 and FR-788: not by list, page, part or form; in the words for ids that nobody has."""
    mission, stranger = planned(site), site.visitor("eve", "operator", tenant="elsewhere")
    nobody = str(uuid4())
    assert mission not in stranger.get("/missions").text
    for path in ("/missions/{}", "/missions/{}/now"):
        known, unknown = (stranger.get(path.format(one)) for one in (mission, nobody))
        assert (known.status_code, unknown.status_code) == (404, 404)
        assert known.text.replace(mission, "ID") == unknown.text.replace(nobody, "ID")
    assert stranger.post(f"/missions/{mission}/cancel").status_code == 404
    assert status(site, mission) == "running"
    assert site.visitor("ada").get("/missions/no-id").status_code == 404


def test_a_mission_is_begun_and_stopped_by_forms_of_ours(site: "Site") -> None:
    """Proves FR-752: by who is logged in and shows that the form is his; on the record."""
    ada = site.visitor("ada")
    assert ada.post("/missions", goal="").status_code == 422
    assert ada.client.post("/missions", data={"goal": "no form of ours"}).status_code == 403
    begun = ada.post("/missions", goal="Say hello", approve_plan="1")
    assert begun.status_code == 303
    assert "Say hello" in ada.get(begun.headers["location"]).text
    mission = planned(site)
    path = f"/missions/{mission}"
    assert ada.client.post(f"{path}/cancel").status_code == 403
    assert ada.post(f"{path}/cancel").status_code == 303
    until = time.monotonic() + PATIENCE_S
    while status(site, mission) in ("running", "waiting"):
        assert time.monotonic() < until
        time.sleep(0.05)
    assert status(site, mission) == "cancelled"
    assert "hx-trigger" not in ada.get(path).text.partition("<main")[2]
    calls = site.rows("SELECT body::jsonb ->> 'data' FROM audit_events WHERE kind = 'server.called' ORDER BY seq")
    assert any('"page"' in body and "cancel_mission" in body for (body,) in calls)


def test_a_mission_is_begun_with_material_limits_and_voice(site: "Site") -> None:
    """Proves FR-752: as the form says, or not at all."""
    ada = site.visitor("ada", "operator")
    begun = ada.post(
        "/missions", goal="What rises?", inputs="feed: https://feeds.example.com/a.xml\n\nlang : en ", persona="Dry",
        constraints="No names\n Be brief", minutes="2", tokens="9000", approve_plan="1",
    )  # fmt: skip
    assert begun.status_code == 303
    mission_id = begun.headers["location"].rpartition("/")[2]
    context = site.do(site.app.context.missions.context(mission_id))
    assert context.inputs == {"feed": "https://feeds.example.com/a.xml", "lang": "en"}
    assert (context.persona, context.constraints, context.deadline_s) == ("Dry", ["No names", "Be brief"], 120)
    assert context.budget.tokens == 9_000
    ada.post(f"/missions/{mission_id}/cancel")
    wrong = [{"inputs": "no colon"}, {"inputs": "a b: c"}, {"inputs": "feed: /etc/passwd"}, {"tokens": "-1"}]
    for bad in [*wrong, *({"minutes": given} for given in ("soon", "0", "9" * 400))]:
        refused = ada.post("/missions", goal="What rises?", **bad)
        assert (refused.status_code, "/etc" in refused.text) == (422, False), bad
