"""What a caller over the network may name in a mission: nothing of this machine.

Whoever hands in a goal names the files and addresses that tools may touch. A user at a terminal reads as himself; a
caller over the network would read as the server. So its missions name no path and no address of this machine or its
network, unless the file lies in the folder that the operator set aside (``server_files``).
"""

import ipaddress
import os
import re
import socket
import unicodedata
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from urllib.parse import unquote, urlsplit

from chimera.core.contracts import Mission
from chimera.core.errors import InputError

_PATH = re.compile(
    r"(?:file|data|javascript|blob|jar|smb|ssh|sftp|ftp|ftps|ldaps?|gopher|dict|unix|view-source|about):"
    r"|/\S|\\\\|\.\.?[/\\]|~[\w.-]*(?:[/\\]|$)|[a-z]:[\\/]|\$\{?\w+\}?[\\/]|%\w+%[\\/]|.*[/\\]\.\.(?:[/\\]|$)",
    re.IGNORECASE | re.DOTALL,
)
_URL = re.compile(r"[a-z][a-z0-9+.-]*:/*[^\s/]", re.IGNORECASE)
_WEB = re.compile(r"(?:https?|wss?):", re.IGNORECASE)
_QUOTES = " \t\r\n\"'`<>()[]{},;!?"
_LOCAL = (".localhost", ".local", ".internal", ".localdomain", ".home.arpa", ".lan", ".intranet")
_BETWEEN = re.compile(r"[\s\"'`()<>\[\]{},;]+")
_NAME_MAX, _ENTRIES_MAX = 255, 10_000


def check_named(mission: Mission, folder: Path | None) -> None:
    """Let a mission pass that names nothing of this machine. Touches the disk to see which words are files here.

    Raises:
        InputError: it does; the message names the field and not what is there.
    """
    spaced = _names_with_spaces()
    for field, text in _fields(mission):
        words = [text.strip(), *(word for word in _BETWEEN.split(text) if word)]
        if any(name in text for name in spaced) or any(_is_of_this_machine(word, folder) for word in words):
            raise InputError(
                f"{field}: names a file or an address of the server's machine or network",
                remedy="Name public http(s) addresses, or files of the folder that the operator set aside for callers.",
            )


def _names_with_spaces() -> list[str]:
    """What lies in the working folder under a name that is several words."""
    with os.scandir() as entries:
        return [entry.name for entry in islice(entries, _ENTRIES_MAX) if " " in entry.name]


def _fields(mission: Mission) -> Iterable[tuple[str, str]]:
    yield "goal", mission.goal
    yield "persona", mission.persona
    yield from (("constraints", text) for text in mission.constraints)
    yield from ((f"inputs.{name}", value) for name, value in mission.inputs.items())


def _is_of_this_machine(text: str, folder: Path | None) -> bool:
    return any(
        _names_address(form) if _WEB.match(form) else _names_file(form, folder)
        for form in dict.fromkeys(_readings(text))
        if form
    )


def _readings(text: str) -> Iterator[str]:
    """The text as a lenient tool may read it: without quotes, percent-decoded, compatibility forms folded."""
    yield text
    plain = (text if text.isascii() else unicodedata.normalize("NFKC", text)).strip(_QUOTES)
    yield plain
    yield plain.rstrip(".:")
    for _ in range(2):
        plain = unquote(plain).strip(_QUOTES)
        yield plain


def _names_file(text: str, folder: Path | None) -> bool:
    try:
        if not _PATH.match(text) and not (_URL.match(text) and "://" in text):
            first = text.replace("\\", "/").partition("/")[0]
            return (
                0 < len(first) <= _NAME_MAX and "\0" not in first and first not in (".", "..") and Path(first).exists()
            )
        return folder is None or not Path(text).resolve().is_relative_to(folder.resolve())
    except (OSError, ValueError, RuntimeError):  # no name that this system could have
        return bool(_PATH.match(text))


def _names_address(text: str) -> bool:
    try:
        host = (urlsplit(text).hostname or "").rstrip(".").lower()
    except ValueError:
        return True
    host = unicodedata.normalize("NFKC", host)
    if not host or host == "localhost" or host.endswith(_LOCAL) or "\\" in text or "@" in urlsplit(text).netloc:
        return True
    address = _address(host)
    return "." not in host if address is None else not _is_public(address)


def _address(host: str) -> "ipaddress.IPv4Address | ipaddress.IPv6Address | None":
    """The address that a host is, also in the forms that only the C library reads, such as 0x7f.1 and 2130706433."""
    try:
        return ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        pass
    try:
        return ipaddress.IPv4Address(socket.inet_aton(host))
    except OSError:
        return None


def _is_public(address: "ipaddress.IPv4Address | ipaddress.IPv6Address") -> bool:
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour or (address.teredo or (None, None))[1]
        if inner is not None:
            return inner.is_global
    return address.is_global and not address.is_multicast
