"""``chimera review bands | calibrate | report``: what lets results pass unseen, and what that is worth."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chimera.cli.opening import open_records
from chimera.cli.options import By, Json, Tenant
from chimera.cli.running import run
from chimera.cli.view.output import emit, tell
from chimera.cli.view.text import line, short
from chimera.core.errors import InputError

if TYPE_CHECKING:
    from chimera.cli.opening import Records
    from chimera.guards.bands import BandKeeper
    from chimera.review.calibration.bands import Bands

Point = Annotated[str, typer.Option(metavar="NAME", help="Review point: quality or content.")]
Topic = Annotated[str, typer.Option(metavar="NAME", help="general, or a topic that is not always a human's.")]
Html = Annotated[Path | None, typer.Option(metavar="FILE", help="Write a page with a plot of each point.")]


def bands_command(json: Json = False) -> None:
    """List the certificates there were: which are in force, and why others were closed."""
    run(_bands(json))


async def _bands(json: bool) -> None:
    async with open_records() as records:
        bands, _ = _services(records)
        for tenant, point, topic, _, _ in await bands.store.points():
            await bands.watched(tenant, point, topic)  # one that broke its promise is closed before it is shown
        found = await bands.store.certificates()
    if json:
        emit({"certificates": [one.plain() for one in found]})
    elif not found:
        tell("No certificate: results pass on the thresholds of the settings, if they only read or add.")
    else:
        for one in found:
            state = "in force" if one.closed_at is None else f"closed: {one.why}"
            about = f"{one.tenant}/{one.point}/{one.topic} {one.side} at {one.threshold:.3f}"
            tell(line(f"{short(one.id)}  {about}, error at most {one.bound:.3f} of {one.alpha:g}  {state}"))


def calibrate_command(
    point: Point = "quality",
    topic: Topic = "general",
    tenant: Tenant = "default",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be certified.")] = False,
    by: By = None,
    json: Json = False,
) -> None:
    """Learn from what humans decided, and put the bands in force that this certifies; or say why there is none."""
    run(_calibrate(point, topic, tenant, dry_run, by, json))


async def _calibrate(point: str, topic: str, tenant: str, dry_run: bool, by: str | None, json: bool) -> None:
    from chimera.guards.permissions.first import local_user

    async with open_records() as records:
        bands, keeper = _services(records)
        learnt = await bands.learnt(tenant, point, topic)
        alpha, made = bands.alpha(point), list[Any]()
        sides = {"approve": learnt.approve, "reject": learnt.reject}
        if not dry_run and any(found.threshold is not None for found in sides.values()):
            made = await keeper.open(learnt, tenant, point, topic, alpha, by or local_user())
    told = {
        "tenant": tenant,
        "point": point,
        "topic": topic,
        "alpha": alpha,
        "labels": len(learnt.tested),
        "certificates": [one.plain() for one in made],
        "why": {side: found.why for side, found in sides.items()},
    }
    if json:
        emit(told)
        return
    for side, found in sides.items():
        verdict = "no certificate" if found.threshold is None else f"at {found.threshold:.3f}, {found.share:.0%} of all"
        tell(line(f"{side}: {verdict}; {found.why}"))


def report_command(html: Html = None, json: Json = False) -> None:
    """Compare what was stated with what humans said, by point, with what could be certified by now."""
    run(_report(html, json))


async def _report(html: Path | None, json: bool) -> None:
    from chimera.review.calibration.report import report

    async with open_records() as records:
        points = await report(_services(records)[0])
    if html is not None:
        _write(html, points)
    if json:
        emit({"points": points})
        return
    if not points:
        tell("Nothing was judged yet.")
    for one in points:
        tell(line(f"{one['tenant']}/{one['point']}/{one['topic']}: {one['judged']} judged, {one['decided']} decided"))
        for side, found in one["could_be"].items():
            tell(line(f"  {side}: {found['why']}"))


def _write(html: Path, points: list[dict[str, Any]]) -> None:
    from chimera.cli.view.calibration import page

    try:
        html.write_text(page(points), "utf-8")
    except OSError as error:
        raise InputError(f"{html} cannot be written: {error.strerror}", remedy="Name another file.") from None


def _services(records: "Records") -> tuple["Bands", "BandKeeper"]:
    from chimera.core.clock import SystemClock
    from chimera.review.calibration.bands import Bands
    from chimera.review.calibration.store import CalibrationStore

    keeper = records.oversight().bands
    return Bands(CalibrationStore(records.pool), records.settings, SystemClock(), keeper), keeper
