"""Who looks at a page: somebody who is logged in, or the local user where nobody is asked."""

import hmac
import secrets
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response

from chimera.core.errors import FormRefused
from chimera.guards.permissions.accounts import Accounts, Login
from chimera.server.callers import Caller

COOKIE = "chimera_session"
CSRF_HEADER, CSRF_FIELD = "x-csrf", "csrf"


@dataclass(frozen=True)
class Visitor:
    """Somebody known. ``csrf``: what his pages say to show that they are ours; ``token``: his session, if any."""

    caller: Caller
    roles: tuple[str, ...]
    csrf: str
    token: str | None = None

    @property
    def name(self) -> str:
        """The name that goes on the record."""
        return self.caller.name

    @property
    def tenant(self) -> str:
        """Whose questions and missions he sees."""
        return self.caller.tenant


class Visitors:
    """Knows visitors by their cookie. ``everybody``: who all are where nobody is asked."""

    def __init__(self, accounts: Accounts, everybody: Caller | None, roles: tuple[str, ...] = ()) -> None:
        self.accounts = accounts
        csrf = secrets.token_urlsafe(32)
        self._everybody = Visitor(everybody, roles, csrf) if everybody is not None else None

    @property
    def asks(self) -> bool:
        """Whether visitors have to log in."""
        return self._everybody is None

    async def known(self, request: Request) -> Visitor | None:
        """Who asks for a page; None when nobody is logged in.

        Raises:
            StoreError: it cannot be known.
        """
        if self._everybody is not None:
            return self._everybody
        token = request.cookies.get(COOKIE, "")
        found = await self.accounts.known(token) if 0 < len(token) <= 100 else None
        return visitor(found) if found is not None else None


def visitor(login: Login) -> Visitor:
    """A visitor who is logged in."""
    person = login.person
    return Visitor(Caller(person.tenant, person.name, person.kind), person.roles, login.csrf, login.token)


async def check_form(request: Request, known: Visitor) -> None:
    """Let a request pass that a page of this very session sends.

    Raises:
        FormRefused: it does not say so, as one that another site made a browser send.
    """
    given = request.headers.get(CSRF_HEADER)
    if given is None:
        form = await request.form()
        given = str(form.get(CSRF_FIELD, ""))
    if not hmac.compare_digest(given.encode(), known.csrf.encode()):
        raise FormRefused("this request does not come from a page of yours")


def keep(response: Response, login: Login, lasts_s: int, *, safe: bool) -> None:
    """Give the browser its session. Links from elsewhere keep it (``lax``); what other sites send does not."""
    response.set_cookie(COOKIE, login.token, max_age=lasts_s, httponly=True, samesite="lax", secure=safe, path="/")
