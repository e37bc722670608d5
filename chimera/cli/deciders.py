"""The check of ``chimera doctor`` that says who may decide what missions ask."""

from chimera.cli.checks import Finding
from chimera.cli.view.text import line
from chimera.core.settings import Settings
from chimera.guards.permissions.first import ITSELF, OPERATOR, FirstStart
from chimera.store.postgres import Pool
from chimera.store.principals import PrincipalStore

PEOPLE_SHOWN = 5


async def who_decides(pool: Pool, settings: Settings, *, made: bool) -> Finding:
    """Who may decide, in the tenant that every installation has."""
    local = FirstStart.of(settings)
    there = await PrincipalStore(pool).listed("default") if made else []
    people = [one for one in there if one.kind == "human"]
    if people:
        told = [f"{line(one.name, 60)} ({', '.join(one.roles)})" for one in people[:PEOPLE_SHOWN]]
        more = f" and {len(people) - PEOPLE_SHOWN} more" if len(people) > PEOPLE_SHOWN else ""
        by_itself = any(one.name == local and one.enrolled_by == ITSELF for one in people)
        note = "; the local user was enrolled by itself on the first start" if by_itself else ""
        return Finding("people", "ok", f"{', '.join(told)}{more} decide{'s' if len(told) == 1 else ''}{note}")
    if local is not None:
        return Finding("people", "note", f"nobody yet: the first command enrols you, {line(local, 60)}, as {OPERATOR}")
    remedy = f"`chimera principal add NAME --role {OPERATOR}` enrols the first one."
    return Finding("people", "note", "nobody is enrolled, so nobody can answer what missions ask", remedy)
