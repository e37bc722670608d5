"""Feeds by URL, from a real web server on loopback: redirects, limits of size and time, and errors that keep secrets.

Proves the URL half of FR-53.
"""

import asyncio
import gzip
import threading
from collections.abc import Generator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from chimera.core.errors import FeedUnreadable
from chimera.tools.feeds import source
from chimera.tools.feeds.read import read_feed

CSV = "when,what\n2026-01-01,Grüße\n2026-01-02,b\n"
PAGES: dict[str, tuple[int, bytes, dict[str, str]]] = {
    "": (200, CSV.encode(), {}),
    "feed.csv": (200, CSV.encode(), {}),
    "latin": (200, CSV.encode("latin-1"), {"content_type": "text/csv; charset=iso-8859-1"}),
    "gzip": (200, gzip.compress(CSV.encode()), {"content_encoding": "gzip"}),
    "bomb": (200, gzip.compress(b"when,what\n" + b"0" * 20_000_000), {"content_encoding": "gzip"}),
}
MOVED = {"hop": "/feed.csv", "loop": "/loop", "elsewhere": "file:///etc/passwd"}
STOP = threading.Event()


class Handler(BaseHTTPRequestHandler):
    """Plays the web servers that feeds come from."""

    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base's name
        """Stay silent."""

    def do_GET(self) -> None:
        """Answer by the first part of the path."""
        page = self.path.split("?")[0].split("/")[1]
        if page in ("endless", "drip", "cut"):
            self.misbehave(page)
        elif page in MOVED:
            self.send(302, b"", location=MOVED[page])
        else:
            status, body, headers = PAGES.get(page, (404, CSV.encode(), {}))
            self.send(status, body, **headers)

    def misbehave(self, page: str) -> None:
        """Send without end, slowly, or less than was promised."""
        self.send_response(200)
        self.send_header(*(("Content-Length", "1000") if page == "cut" else ("Connection", "close")))
        self.end_headers()
        self.close_connection = True
        if page == "cut":
            self.wfile.write(CSV.encode())
        while page == "endless" and not STOP.is_set():
            self.wfile.write(b"x" * 65_536)
        while page == "drip" and not STOP.wait(0.05):
            self.wfile.write(b"x")
            self.wfile.flush()

    def send(self, status: int, body: bytes, **headers: str) -> None:
        """A whole answer."""
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class Web(ThreadingHTTPServer):
    """A web server that takes it calmly when a reader hangs up."""

    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Hanging up is what these tests are about."""


@pytest.fixture
def web() -> Generator[str]:
    """Address of the web server."""
    STOP.clear()
    with Web(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        STOP.set()
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("path", ["feed.csv", "latin", "gzip", "hop", ""])
def test_a_feed_is_read(web: str, path: str) -> None:
    feed = read_feed(f"{web}/{path}?tag=a")
    assert [post.fields["what"] for post in feed.posts] == ["Grüße", "b"]
    assert feed.name == {"": "127.0.0.1", "feed.csv": "feed"}.get(path, path)
    assert feed.source == f"{web}/{path}?tag=a"


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("missing", "HTTP status 404"),
        ("loop", "redirects more than 5 times"),
        ("elsewhere", "redirects to an address that is not followed"),
        ("endless", "larger than 1,000,000 bytes"),
        ("bomb", "larger than 1,000,000 bytes"),
        ("drip", "took longer than 2 s"),
        ("cut", "RemoteProtocolError"),
    ],
)
def test_what_cannot_be_read_is_said_without_secrets(web: str, path: str, said: str) -> None:
    address = f"{web.replace('//', '//me:canary@')}/{path}?token=canary"
    with pytest.raises(FeedUnreadable, match=said) as caught:
        read_feed(address, max_bytes=1_000_000, timeout_s=2.0 if path == "drip" else 20.0)
    assert "canary" not in str(caught.value.as_dict())


def test_nobody_listening(web: str) -> None:
    with pytest.raises(FeedUnreadable, match="ConnectError"):
        read_feed("http://127.0.0.1:1/feed.csv")
    for address in ("http://", "http://[::1", "http://a b/", "https://:0/"):
        with pytest.raises(FeedUnreadable):
            read_feed(address)


async def test_it_can_be_read_beside_a_running_loop(web: str) -> None:
    async with asyncio.timeout(20):
        assert (await asyncio.to_thread(read_feed, f"{web}/feed.csv")).posts == read_feed(f"{web}/feed.csv").posts


def test_the_outside_cannot_lead_inside(web: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def is_local(host: str) -> bool:
        return host != "localhost"  # which plays the part of the outside

    monkeypatch.setattr(source, "_is_local", is_local)
    outside = web.replace("127.0.0.1", "localhost")
    assert read_feed(f"{outside}/feed.csv").posts
    assert read_feed(f"{outside}/hop").posts
    monkeypatch.setitem(MOVED, "inside", f"{web}/feed.csv")
    with pytest.raises(FeedUnreadable, match="not followed"):
        read_feed(f"{outside}/inside")


@pytest.mark.parametrize(
    ("host", "local"),
    [
        ("127.0.0.1", True), ("10.0.0.8", True), ("169.254.169.254", True), ("::1", True), ("[fd00::1]", True),
        ("0.0.0.0", True), ("localhost", True), ("db.internal", True), ("93.184.216.34", False), ("example.com", False),
    ],
)  # fmt: skip
def test_which_hosts_are_inside(host: str, local: bool) -> None:
    assert source._is_local(host) == local  # pyright: ignore[reportPrivateUsage]
