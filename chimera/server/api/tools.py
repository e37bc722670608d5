"""Tools: which there are for a purpose."""

from typing import Annotated

from fastapi import APIRouter, Query

from chimera.server.api.forms import ToolList, ToolTold
from chimera.server.api.office import Here, Who
from chimera.server.api.problems import responses
from chimera.server.mcp.contracts import QUERY_MAX

router = APIRouter(prefix="/tools", tags=["tools"])


@router.get("", responses=responses())
async def search_tools(
    office: Here,
    caller: Who,
    query: Annotated[str, Query(min_length=1, max_length=QUERY_MAX, description="what is to be done")],
    limit: Annotated[int, Query(ge=1, le=50)] = 5,
) -> ToolList:
    """The tools that missions could use for something, best first, with what each does to the world."""
    found = await office.desk.search(caller, query, limit)
    return ToolList(items=[ToolTold.model_validate(one) for one in found["tools"]])
