"""A site: the server with its pages in a thread of this process, people who are logged in, and an OpenID provider."""

import asyncio
import base64
import hashlib
import secrets
import socket
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Generator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import unquote_plus, urlencode

import httpx
import psycopg
import pytest
import uvicorn
from joserfc.jwk import ECKey
from joserfc.jwt import encode
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from chimera.app import App, open_app
from chimera.core.settings import Settings
from chimera.guards.permissions.accounts import Login
from chimera.guards.permissions.guessing import Guessing
from chimera.server.asgi import address_of, compose
from chimera.server.pages.visitors import COOKIE
from chimera.server.serving import Web
from chimera.store.embedded import Endpoints

Found = TypeVar("Found")
Enrol = Callable[..., None]
PATIENCE_S = 30


@dataclass
class Site:
    """A server that runs. ``app``: its services, which belong to ``loop``."""

    url: str
    app: App
    loop: asyncio.AbstractEventLoop
    enrol: Enrol
    database_url: str
    clients: list[httpx.Client] = field(default_factory=list[httpx.Client])

    def do(self, work: Coroutine[Any, Any, Found]) -> Found:
        """Do something with the services of the server."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(PATIENCE_S)

    def rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        """Rows of the database."""
        with psycopg.connect(self.database_url) as connection:
            return connection.execute(query.encode(), values).fetchall()

    def browser(self) -> httpx.Client:
        """Somebody who is not logged in, with cookies of his own; redirects are not followed."""
        self.clients.append(httpx.Client(base_url=self.url, timeout=PATIENCE_S))
        return self.clients[-1]

    def forget_tries(self) -> None:
        """Let the next one log in as if nobody had tried yet: all tests come from one address."""
        self.app.context.oversight.accounts.guessing = Guessing(self.app.context.clock)

    def forget_tries_of_addresses(self) -> None:
        """The same, but what was tried for each name is still known."""
        vars(self.app.context.oversight.accounts.guessing)["_full"] = OrderedDict[str, float](
            (name, full)
            for name, full in vars(self.app.context.oversight.accounts.guessing)["_full"].items()
            if not name.startswith("address ")
        )

    def visitor(self, name: str, *roles: str, tenant: str = "default") -> "Visiting":
        """Somebody who is logged in; enrolled with those roles, or as he is."""
        if roles:
            self.enrol(self.database_url, name, roles=roles, tenant=tenant)

        async def vouched() -> Login:
            oversight = self.app.context.oversight
            person = await oversight.principals.find(tenant, name)
            assert person is not None
            return await oversight.accounts.vouched(person, by="the test")

        login, client = self.do(vouched()), self.browser()
        client.cookies.set(COOKIE, login.token, domain="127.0.0.1", path="/")
        return Visiting(client, login)


@dataclass
class Visiting:
    """Somebody's browser."""

    client: httpx.Client
    login: Login

    def get(self, path: str) -> httpx.Response:
        """A page."""
        return self.client.get(path)

    def post(self, path: str, **form: str | list[str]) -> httpx.Response:
        """A form as his pages send it."""
        return self.client.post(path, data={"csrf": self.login.csrf, **form})


@dataclass
class OpenIdProvider:
    """An OpenID provider: authorization code, PKCE, client secret, ID tokens signed with a key of its own.

    It lets in whoever is ``who`` without asking, and breaks a rule where a test tells it to: ``claims`` are put over
    those of each ID token, ``signer`` signs in place of its key.
    """

    url: str = ""
    client: str = "chimera at home"
    secret: str = "canary secret: /+&"
    who: tuple[str, str] = ("subject-1", "ada@example.com")
    claims: dict[str, Any] = field(default_factory=dict[str, Any])
    signer: ECKey | None = None
    key: ECKey = field(default_factory=lambda: ECKey.generate_key("P-256", {"kid": "first"}))
    codes: dict[str, dict[str, str]] = field(default_factory=dict[str, dict[str, str]])
    asked: list[dict[str, str]] = field(default_factory=list[dict[str, str]])
    down: bool = False

    def app(self) -> Starlette:
        """What it answers."""
        return Starlette(
            routes=[
                Route("/.well-known/openid-configuration", self.document),
                Route("/authorize", self.authorize),
                Route("/token", self.token, methods=["POST"]),
                Route("/keys", self.keys),
            ]
        )

    async def document(self, _: Request) -> JSONResponse:
        """What it says of itself."""
        ends = {"authorization_endpoint": "authorize", "token_endpoint": "token", "jwks_uri": "keys"}
        whole = {name: f"{self.url}/{path}" for name, path in ends.items()}
        return JSONResponse({"issuer": self.url, **whole, "authorization_response_iss_parameter_supported": True})

    async def keys(self, _: Request) -> JSONResponse:
        """Its public key."""
        return JSONResponse({"keys": [self.key.as_dict(private=False)]})

    async def authorize(self, request: Request) -> Response:
        """Let the browser's owner in, and send him back with a code."""
        asked = dict(request.query_params)
        self.asked.append(asked)
        code = secrets.token_urlsafe(8)
        self.codes[code] = asked
        back = {"code": code, "state": asked["state"], "iss": self.url}
        return RedirectResponse(f"{asked['redirect_uri']}?{urlencode(back)}", 302)

    async def token(self, request: Request) -> Response:
        """An ID token for a code: once, for the client that asked, who knows the verifier."""
        form = {name: str(value) for name, value in (await request.form()).items()}
        asked = self.codes.pop(form.get("code", ""), None)
        if self.down or asked is None or not self._is_client(request) or not _fits(asked, form):
            return JSONResponse({"error": "invalid_grant"}, 400)
        subject, name = self.who
        now = int(time.time())
        claims = {"iss": self.url, "aud": self.client, "sub": subject, "iat": now, "exp": now + 300}
        claims |= {"nonce": asked["nonce"], "email": name, "email_verified": True, **self.claims}
        key = self.signer or self.key
        text = encode({"alg": "ES256", "kid": key.kid}, claims, key, algorithms=["ES256"])
        return JSONResponse({"access_token": "x", "token_type": "Bearer", "id_token": text})

    def _is_client(self, request: Request) -> bool:
        kind, _, pair = request.headers.get("authorization", "").partition(" ")
        name, _, secret = base64.b64decode(pair).decode().partition(":")
        return (kind, unquote_plus(name), unquote_plus(secret)) == ("Basic", self.client, self.secret)


def _fits(asked: dict[str, str], form: dict[str, str]) -> bool:
    digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
    challenge = base64.urlsafe_b64encode(digest).decode().rstrip("=")
    is_same_place = form.get("redirect_uri") == asked["redirect_uri"]
    return is_same_place and asked.get("code_challenge_method") == "S256" and asked["code_challenge"] == challenge


@pytest.fixture(scope="module")
def provider() -> Generator[OpenIdProvider]:
    """An OpenID provider on loopback."""
    made = OpenIdProvider()
    listening = socket.create_server(("127.0.0.1", 0))
    made.url = f"http://127.0.0.1:{listening.getsockname()[1]}"
    server = uvicorn.Server(uvicorn.Config(made.app(), log_level="critical", lifespan="off"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    yield made
    server.should_exit = server.force_exit = True
    thread.join(10)


@pytest.fixture(scope="module")
def site(
    provider: OpenIdProvider,
    shared_database_url: str,
    endpoints: Endpoints,
    enrol: Enrol,
    tmp_path_factory: pytest.TempPathFactory,
) -> Generator[Site]:
    """The server, with people of that provider."""
    settings = Settings.model_validate(
        {
            "home": tmp_path_factory.mktemp("home"),
            "database_url": shared_database_url,
            "redis_url": endpoints.redis_url,
            "oidc_issuer": provider.url,
            "oidc_client_id": provider.client,
            "oidc_client_secret": provider.secret,
        }
    )
    listening = socket.create_server(("127.0.0.1", 0))
    port = listening.getsockname()[1]
    served = compose(settings, lambda: open_app(settings), address_of(settings, "127.0.0.1", port))
    started = threading.Event()
    web = Web(uvicorn.Config(served, log_level="warning", timeout_graceful_shutdown=1), started.set)
    loops: list[asyncio.AbstractEventLoop] = []

    async def run() -> None:
        loops.append(asyncio.get_running_loop())
        await web.serve([listening])

    with ThreadPoolExecutor(1) as thread:
        running = thread.submit(asyncio.run, run())
        assert started.wait(PATIENCE_S) or running.result(0) is None
        enrol(shared_database_url, "ada")
        made = Site(f"http://127.0.0.1:{port}", served.state.house.app, loops[0], enrol, shared_database_url)
        yield made
        for client in made.clients:
            client.close()
        served.state.house.keeper.closing.set()
        web.should_exit = True
        running.result(PATIENCE_S)
