"""The result of a mission as a document for machines: what ``chimera run --json`` prints, and the server answers."""

from pathlib import Path
from typing import Any

from chimera.app import App
from chimera.commerce.of_mission import payments_of
from chimera.core.contracts import MissionResult
from chimera.review.reviewers import SCRIPTED


def document(result: MissionResult, artifacts: Path, **more: Any) -> dict[str, Any]:
    """The contract's fields, and where each artifact lies."""
    folder = artifacts / result.mission_id
    listed = [{**item.plain(), "path": str(folder / item.name)} for item in result.artifacts]
    return {**result.plain(), "artifacts": listed, **more}


async def told(app: App, result: MissionResult, **more: Any) -> dict[str, Any]:
    """The document of a result, with who answered its questions, which are open, and what was paid."""
    rows = await app.context.reviews.of_mission(result.mission_id)
    scripted = any(row["decision"] and row["decision"].get("reviewer") == SCRIPTED for row in rows)
    open_items = [str(row["id"]) for row in rows if row["state"] == "open"]
    paid = await payments_of(app.pool, result.mission_id)
    return document(
        result, artifacts_of(app), reviewed_by_script=scripted, open_reviews=open_items, payments=paid, **more
    )


def artifacts_of(app: App) -> Path:
    """The folder that holds a folder of artifacts for each mission."""
    return app.settings.home.absolute() / "artifacts"
