"""A mission for whoever pays: a goal in, its result out, or an error that costs nothing.

A stranger's mission is worked in the name of the principal that the operator chose, in that one's tenant: with its
permissions, its tools and its budgets, and with no others. It names nothing of this machine, and asks nobody: one that
would have to wait for a human is given up.
"""

import json
from typing import Any

from pydantic import Field, ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from chimera.commerce.x402.selling import ORDER
from chimera.core.contracts import GOAL_MAX, Contract, Mission, MissionStatus, Name
from chimera.core.errors import CallerBusy, ChimeraError, GuardRejected, InputError
from chimera.core.invalid import first_problem
from chimera.server.bearer import refusal
from chimera.server.callers import Caller
from chimera.server.desk import Desk, Run

WORK_S = 90.0
"""How long a mission may take: a signed payment is good for two minutes."""


class Ordered(Contract):
    """What can be ordered. How much it may use is the operator's to say, not the buyer's."""

    goal: str = Field(min_length=1, max_length=GOAL_MAX)
    inputs: dict[Name, str] = Field(default_factory=dict)
    constraints: list[str] = Field(default_factory=list, max_length=50)


class SoldMissions:
    """The application behind the price."""

    def __init__(self, desk: Desk, caller: Caller, work_s: float = WORK_S) -> None:
        self._desk = desk
        self._caller = caller
        self._work_s = work_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Work one order."""
        request = Request(scope, receive)
        answer = await self._worked(request) if request.method == "POST" else Response(status_code=405)
        await answer(scope, receive, send)

    async def _worked(self, request: Request) -> Response:
        about: dict[str, Any] = {"order": request.scope[ORDER]}
        try:
            ordered = _ordered(await request.body())
            async with self._desk.recorded(self._caller, "paid", "run_mission", about, reads=False):
                mission = Mission.model_validate(
                    {**ordered.plain(), "tenant": self._caller.tenant, "deadline_s": self._work_s}
                )
                run = Run(mission, self._work_s, key=request.scope[ORDER])
                told = await self._desk.run(self._caller, run, about)
                if told["status"] in (MissionStatus.RUNNING, MissionStatus.WAITING):
                    await self._desk.withdraw(told["mission_id"])
        except ChimeraError as error:
            return refusal(_status_of(error), error)
        if told["status"] == MissionStatus.DONE:
            return JSONResponse(told)
        return refusal(503, InputError(f"the mission ended as {told['status']}; nothing is charged"))


def _ordered(body: bytes) -> Ordered:
    """The order.

    Raises:
        InputError: it is none.
    """
    try:
        return Ordered.model_validate(json.loads(body))
    except ValidationError as error:
        raise InputError(first_problem(error, "order")) from None
    except (ValueError, RecursionError):
        raise InputError("the order is no JSON", remedy='Send {"goal": "what is wanted"}.') from None


def _status_of(error: ChimeraError) -> int:
    match error:
        case GuardRejected():
            return 403
        case CallerBusy():
            return 429
        case InputError():
            return 422
        case _:
            return 503
