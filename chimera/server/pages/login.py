"""Logging in and out, and choosing a password by an invitation."""

import math
from collections.abc import Sequence

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from chimera.core.errors import ChimeraError, InputError, LoginBusy, LoginRefused
from chimera.guards.permissions.accounts import PASSWORD_LEAST, Login
from chimera.server.pages.shell import HEADERS, Section, Shell, own_path
from chimera.server.pages.visitors import COOKIE, Visitor, keep

KNOWN, KNOWN_S = "chimera_known", 180 * 86_400
_NAME_MAX = 200


class LoginPage:
    """The way in and out. A session begins anew with each login; one that a browser brought along never counts."""

    section: Section | None = None

    def __init__(self, shell: Shell) -> None:
        self._shell = shell

    def routes(self) -> Sequence[BaseRoute]:
        """What it answers."""
        return [
            Route("/login", self._form, methods=["GET"]),
            Route("/login", self._login, methods=["POST"]),
            Route("/join/{token}", self._invited, methods=["GET"]),
            Route("/join/{token}", self._join, methods=["POST"]),
            Route("/logout", self._shell.changing(self._logout), methods=["POST"]),
        ]

    async def _form(self, request: Request) -> Response:
        target = own_path(request.query_params.get("next", "/"))
        if await self._shell.visitors.known(request) is not None:
            return RedirectResponse(target, 303, HEADERS)
        return self._shell.render(request, "login.html", None, next=target, why=None, name="")

    async def _login(self, request: Request) -> Response:
        form = await request.form(max_files=0, max_fields=10)
        name, target = str(form.get("name", ""))[:_NAME_MAX].strip(), own_path(str(form.get("next", "/")))
        tenant, _, plain = name.rpartition("/")
        address = request.client.host if request.client else ""
        try:
            login = await self._shell.visitors.accounts.login(
                tenant or "default",
                plain,
                str(form.get("password", "")),
                address,
                request.cookies.get(KNOWN, ""),
            )
        except (LoginRefused, LoginBusy) as error:
            return self._again(request, "login.html", error, next=target, name=name)
        except ChimeraError as error:
            return self._shell.failed(request, None, error)
        return self._in(request, login, target)

    async def _invited(self, request: Request) -> Response:
        try:
            tenant, name = await self._shell.visitors.accounts.invited(request.path_params["token"])
        except ChimeraError as error:
            return self._shell.failed(request, None, error)
        return self._shell.render(request, "join.html", None, tenant=tenant, name=name, least=PASSWORD_LEAST, why=None)

    async def _join(self, request: Request) -> Response:
        form, token = await request.form(max_files=0, max_fields=10), request.path_params["token"]
        accounts = self._shell.visitors.accounts
        password = str(form.get("password", ""))
        try:
            tenant, name = await accounts.invited(token)
            try:
                if password != str(form.get("again", "")):
                    raise InputError("the two passwords differ", remedy="Type both again.")
                login = await accounts.redeem(token, password)
            except InputError as error:
                return self._again(request, "join.html", error, tenant=tenant, name=name, least=PASSWORD_LEAST)
        except ChimeraError as error:
            return self._shell.failed(request, None, error)
        return self._in(request, login, "/")

    async def _logout(self, request: Request, known: Visitor) -> Response:
        if known.token is not None:
            form = await request.form(max_files=0, max_fields=10)
            await self._shell.visitors.accounts.logout(known.token, everywhere=form.get("everywhere") == "yes")
        response = RedirectResponse("/login", 303, HEADERS)
        response.delete_cookie(COOKIE, path="/")
        return response

    def _in(self, request: Request, login: Login, target: str) -> Response:
        response = RedirectResponse(target, 303, HEADERS)
        safe = self._shell.is_safe(request)
        keep(response, login, self._shell.app.settings.server_session_s, safe=safe)
        # For the next login: a browser that was let in is let through a door that somebody's guessing has shut.
        response.set_cookie(KNOWN, login.mark, KNOWN_S, path="/login", httponly=True, samesite="lax", secure=safe)
        return response

    def _again(self, request: Request, template: str, error: ChimeraError, **shown: object) -> Response:
        status, why = 422, f"{error.message[0].upper()}{error.message[1:]}. {error.hint}"
        if isinstance(error, LoginRefused):
            status, why = 403, "The name or the password is wrong."
        response = self._shell.render(request, template, None, status, why=why, **shown)
        if isinstance(error, LoginBusy):
            wait = math.ceil(float(error.context.get("wait_s", 1)))
            response = self._shell.render(
                request, template, None, 429, why=f"Too many tries: wait {wait} seconds.", **shown
            )
            response.headers["Retry-After"] = str(wait)
        return response
