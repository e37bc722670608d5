"""Bytes of a feed, from a regular file or an http(s) URL, within limits of size, time and redirects."""

import asyncio
import ipaddress
import re
import stat
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

from chimera.core.errors import FeedUnreadable
from chimera.core.ids import digest

if TYPE_CHECKING:
    import httpx

MAX_REDIRECTS = 5
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://")
_SECRET = re.compile(r"key|token|secret|passw|sig|auth|credential|session", re.IGNORECASE)
_UNSAFE = re.compile(r"[^A-Za-z0-9_.-]+")


@dataclass(frozen=True)
class Raw:
    """A feed before it is understood. ``charset`` is what the web server declared, if anything."""

    source: str
    name: str
    data: bytes
    charset: str | None = None

    @property
    def sha256(self) -> str:
        """Digest of the bytes."""
        return digest(self.data)


def load(source: str, *, max_bytes: int, timeout_s: float) -> Raw:
    """Read ``source`` whole.

    Raises:
        FeedUnreadable: it is not there, not a regular file, too large, too slow, or the server refuses.
    """
    if not source.strip() or "\0" in source or len(source) > 4_096:
        raise FeedUnreadable("the feed's name is empty, too long or holds a NUL")
    scheme = _SCHEME.match(source)
    if scheme is None:
        return _load_file(Path(source), max_bytes)
    if scheme[1].lower() not in ("http", "https"):
        raise FeedUnreadable(f"cannot read {scheme[1].lower()} addresses")
    return _run(source, max_bytes, timeout_s)


def shown(url: str) -> str:
    """``url`` as it may be printed and cited: without user, password and secret-looking parameters."""
    parts = urlsplit(url)
    query = [(key, "..." if _SECRET.search(key) else value) for key, value in parse_qsl(parts.query)]
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, host, parts.path, urlencode(query, quote_via=quote, safe=".,"), ""))


def short_name(path: str) -> str:
    """A name for evidence ids from a path: its last part without ending, in letters that need no quoting."""
    last = path.rstrip("/").rpartition("/")[2]
    stem = last.rpartition(".")[0] or last
    return _UNSAFE.sub("_", stem).strip("._-")[:60] or "feed"


def _load_file(path: Path, max_bytes: int) -> Raw:
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise FeedUnreadable(f"{path} is not a regular file")
        with path.open("rb") as file:
            data = file.read(max_bytes + 1)
    except OSError as error:
        raise FeedUnreadable(f"cannot read {path}: {error.strerror or type(error).__name__}") from error
    if len(data) > max_bytes:
        raise _too_large(str(path), max_bytes)
    return Raw(source=str(path), name=short_name(path.name), data=data)


def _too_large(source: str, max_bytes: int) -> FeedUnreadable:
    return FeedUnreadable(
        f"{source} is larger than {max_bytes:,} bytes",
        remedy="Give a smaller extract, or raise CHIMERA_FEED_MAX_BYTES.",
    )


def _run(url: str, max_bytes: int, timeout_s: float) -> Raw:
    """Fetch from synchronous code, also where this thread already runs an event loop."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(fetch(url, max_bytes=max_bytes, timeout_s=timeout_s))
    outcome: list[Raw | BaseException] = []

    def work() -> None:
        try:
            outcome.append(asyncio.run(fetch(url, max_bytes=max_bytes, timeout_s=timeout_s)))
        except BaseException as error:  # noqa: BLE001 - carried over to the caller's thread and raised there
            outcome.append(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join()
    if isinstance(outcome[0], BaseException):
        raise outcome[0]
    return outcome[0]


async def fetch(url: str, *, max_bytes: int, timeout_s: float) -> Raw:
    """Read an http(s) URL whole, piece by piece, so that neither size nor time can run away.

    Raises:
        FeedUnreadable: no answer in time, too large, an error status, or a redirect that is not followed.
    """
    import httpx  # a third of a second that a feed from a file need not pay

    try:
        name = shown(url)
    except ValueError as error:
        raise FeedUnreadable("that is not an address") from error
    try:
        async with asyncio.timeout(timeout_s), httpx.AsyncClient(timeout=timeout_s, headers=_HEADERS) as client:
            return await _follow(client, httpx.URL(url), max_bytes)
    except TimeoutError as error:
        raise FeedUnreadable(f"{name} took longer than {timeout_s:g} s") from error
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:  # ValueError: a host name that is none
        raise FeedUnreadable(f"cannot read {name}: {type(error).__name__}") from error


_HEADERS = {
    "User-Agent": "chimera-feed-reader",
    "Accept": "application/rss+xml, application/atom+xml, application/json, text/csv, */*;q=0.5",
}


async def _follow(client: "httpx.AsyncClient", url: "httpx.URL", max_bytes: int) -> Raw:
    """Follow redirects by hand: a public address must not lead a reader into the local network."""
    outside = not _is_local(url.host)
    request = client.build_request("GET", url)
    for _ in range(MAX_REDIRECTS + 1):
        response = await client.send(request, stream=True)
        try:
            if response.next_request is None:
                return await _body(response, shown(str(url)), max_bytes)
        finally:
            await response.aclose()
        request = response.next_request
        if request.url.scheme not in ("http", "https") or (outside and _is_local(request.url.host)):
            raise FeedUnreadable(f"{shown(str(url))} redirects to an address that is not followed")
    raise FeedUnreadable(f"{shown(str(url))} redirects more than {MAX_REDIRECTS} times")


async def _body(response: "httpx.Response", name: str, max_bytes: int) -> Raw:
    if response.status_code != 200:
        raise FeedUnreadable(f"{name} answers with HTTP status {response.status_code}")
    data = bytearray()
    async for piece in response.aiter_bytes(65_536):
        data += piece
        if len(data) > max_bytes:
            raise _too_large(name, max_bytes)
    stem = short_name(urlsplit(name).path) if urlsplit(name).path.strip("/") else short_name(f"{response.url.host}.")
    return Raw(source=name, name=stem, data=bytes(data), charset=response.charset_encoding)


def _is_local(host: str) -> bool:
    try:
        return not ipaddress.ip_address(host.strip("[]")).is_global
    except ValueError:
        return host == "localhost" or host.endswith((".localhost", ".local", ".internal"))
