"""Administration: who is enrolled with which roles, how they come in, their keys, and tenants.

Everything is about the visitor's own tenant: no form names another. What he may is asked of the policies each time,
whatever the page showed him.
"""

from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import Any

from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from chimera.core.errors import ConflictError, InputError
from chimera.guards.permissions.first import OPERATOR
from chimera.guards.permissions.people import kind_named
from chimera.server.pages.people_view import enrolled, issued_keys
from chimera.server.pages.shell import HEADERS, Section, Shell
from chimera.server.pages.visitors import Visitor
from chimera.store.principals import PrincipalKind

PEOPLE, KEYS, TENANTS = "/admin/people", "/admin/keys", "/admin/tenants"
_KINDS: dict[str, PrincipalKind] = {"human": "human", "service": "service", "peer": "peer"}
_DONE = {
    "enrolled": "Enrolled.",
    "removed": "Removed. No key, password or session of theirs counts any more.",
    "logged-out": "Logged out everywhere.",
    "unbound": "Forgotten. Their next login by the provider is a first one.",
    "revoked": "Revoked. No call with it counts any more.",
}
"""What a page says after something was done. The address of the page says which, and no words of its own."""
_FIELD_MAX = 4_000
Act = Callable[[Visitor, FormData, Request], Awaitable["str | dict[str, str]"]]
"""Does what a form asks for; says which of ``_DONE`` it was, or what is shown this once."""
Show = Callable[[Request, Visitor, int, dict[str, Any]], Awaitable[Response]]


class AdminPage:
    """People, keys and tenants."""

    section: Section | None = Section("Admin", "/admin", frozenset({OPERATOR, "security-officer", "auditor"}))

    def __init__(self, shell: Shell) -> None:
        self._shell = shell
        self._oversight = shell.app.context.oversight
        self._clock = shell.app.context.clock

    def routes(self) -> Sequence[BaseRoute]:
        """What it answers."""
        acts: Sequence[tuple[str, Act, str, Show]] = (
            (f"{PEOPLE}/enrol", self._enrol, PEOPLE, self._people),
            (f"{PEOPLE}/remove", self._remove, PEOPLE, self._people),
            (f"{PEOPLE}/invite", self._invite, PEOPLE, self._people),
            (f"{PEOPLE}/log-out", self._log_out, PEOPLE, self._people),
            (f"{PEOPLE}/unbind", self._unbind, PEOPLE, self._people),
            (f"{KEYS}/issue", self._issue, KEYS, self._keys),
            (f"{KEYS}/revoke", self._revoke, KEYS, self._keys),
            (f"{TENANTS}/begin", self._begin, TENANTS, self._tenants),
        )
        shown = ((PEOPLE, self._people), (KEYS, self._keys), (TENANTS, self._tenants))
        return [
            Route("/admin", self._shell.reading(self._first), methods=["GET"]),
            *(Route(path, self._shell.reading(_shown(show)), methods=["GET"]) for path, show in shown),
            *(
                Route(path, self._shell.changing(_done(act, back, show)), methods=["POST"])
                for path, act, back, show in acts
            ),
        ]

    async def _first(self, _request: Request, _visitor: Visitor) -> Response:
        return RedirectResponse(PEOPLE, 303, HEADERS)

    # --- what is shown ---------------------------------------------------------------------------------------------

    async def _people(self, request: Request, visitor: Visitor, status: int, more: dict[str, Any]) -> Response:
        people = await enrolled(self._oversight, visitor, self._clock.now())
        kinds = {kind: self._oversight.directory.roles(kind_named(kind)) for kind in _KINDS}
        return self._render(request, "admin_people.html", visitor, status, more, people=people, kinds=kinds)

    async def _keys(self, request: Request, visitor: Visitor, status: int, more: dict[str, Any]) -> Response:
        keys = await issued_keys(self._oversight, visitor, self._clock.now())
        names = [one.name for one in await self._oversight.principals.listed(visitor.tenant)]
        return self._render(request, "admin_keys.html", visitor, status, more, keys=keys, names=names)

    async def _tenants(self, request: Request, visitor: Visitor, status: int, more: dict[str, Any]) -> Response:
        tenants = await self._oversight.tenants.listed(visitor.name, visitor.tenant)
        return self._render(request, "admin_tenants.html", visitor, status, more, tenants=tenants)

    def _render(
        self, request: Request, template: str, visitor: Visitor, status: int, more: dict[str, Any], **shown: Any
    ) -> Response:
        may = OPERATOR in visitor.roles
        known: dict[str, Any] = {"why": None, "once": None, "done": _DONE.get(request.query_params.get("done", ""))}
        begins = may and visitor.tenant == "default"
        return self._shell.render(
            request, template, visitor, status, may=may, begins=begins, **shown, **{**known, **more}
        )

    # --- what is done ----------------------------------------------------------------------------------------------

    async def _enrol(self, visitor: Visitor, form: FormData, _request: Request) -> str:
        chosen = [str(value).partition(":") for value in form.getlist("role")]
        kinds = {kind for kind, _, _ in chosen}
        kind = _KINDS.get(kinds.pop()) if len(kinds) == 1 else None
        if kind is None:
            raise InputError("the roles are of no kind, or of several", remedy="Choose roles of one kind.")
        await self._oversight.enrolment.enrol(
            _field(form, "name"), kind, [role for _, _, role in chosen], visitor.name, tenant=visitor.tenant
        )
        return "enrolled"

    async def _remove(self, visitor: Visitor, form: FormData, _request: Request) -> str:
        name, why = _field(form, "name"), _field(form, "reason")
        await self._oversight.enrolment.remove(name, visitor.name, tenant=visitor.tenant, reason=why)
        return "removed"

    async def _invite(self, visitor: Visitor, form: FormData, request: Request) -> dict[str, str]:
        name = _field(form, "name")
        token = await self._oversight.accounts.invite(name, visitor.name, tenant=visitor.tenant)
        return self._link(request, name, token)

    async def _log_out(self, visitor: Visitor, form: FormData, _request: Request) -> str:
        await self._oversight.accounts.end_all(_field(form, "name"), visitor.name, tenant=visitor.tenant)
        return "logged-out"

    async def _unbind(self, visitor: Visitor, form: FormData, _request: Request) -> str:
        await self._oversight.identities.unbind(_field(form, "name"), visitor.name, tenant=visitor.tenant)
        return "unbound"

    async def _issue(self, visitor: Visitor, form: FormData, _request: Request) -> dict[str, str]:
        name, days = _field(form, "name"), _field(form, "days")
        if days and not (days.isascii() and days.isdigit() and len(days) <= 4):
            raise InputError("a key lasts for a number of days, or without end if none is given")
        issued = await self._oversight.keys.issue(
            name,
            visitor.name,
            tenant=visitor.tenant,
            label=_field(form, "label"),
            lasts=timedelta(days=int(days)) if days else None,
        )
        return {"what": f"The key of {name}", "text": issued.text, "hint": "It is sent as Authorization: Bearer KEY."}

    async def _revoke(self, visitor: Visitor, form: FormData, _request: Request) -> str:
        await self._oversight.keys.revoke(_field(form, "key"), visitor.name, tenant=visitor.tenant)
        return "revoked"

    async def _begin(self, visitor: Visitor, form: FormData, request: Request) -> dict[str, str]:
        first, token = await self._oversight.tenants.begin(
            _field(form, "tenant"), _field(form, "name"), visitor.name, visitor.tenant
        )
        return self._link(request, f"{first.name}, the operator of {first.tenant}", token)

    def _link(self, request: Request, whose: str, token: str) -> dict[str, str]:
        hint = "Whoever opens it chooses the password. It works once, within a day."
        return {
            "what": f"The invitation of {whose}",
            "text": f"{self._shell.origin(request)}/join/{token}",
            "hint": hint,
        }


def _shown(show: Show) -> Callable[[Request, Visitor], Awaitable[Response]]:
    async def answered(request: Request, visitor: Visitor) -> Response:
        return await show(request, visitor, 200, {})

    return answered


def _done(act: Act, back: str, show: Show) -> Callable[[Request, Visitor], Awaitable[Response]]:
    async def answered(request: Request, visitor: Visitor) -> Response:
        form = await request.form(max_files=0, max_fields=50)
        try:
            done = await act(visitor, form, request)
        except (InputError, ConflictError) as error:
            status = 409 if isinstance(error, ConflictError) else 422
            return await show(request, visitor, status, {"why": f"{error.message}. {error.hint}"})
        if isinstance(done, str):
            return RedirectResponse(f"{back}?done={done}", 303, HEADERS)
        return await show(request, visitor, 200, {"once": done})  # shown this once: no address leads to it again

    return answered


def _field(form: FormData, name: str) -> str:
    return str(form.get(name, ""))[:_FIELD_MAX].strip()
