"""Just enough of both servers' protocols, over a unix socket, to ask whether they serve and to set PostgreSQL up.

It costs a millisecond where a driver costs its import, and the keeper imports the standard library alone.
"""

import socket
import struct
from pathlib import Path

from chimera.store.embedded.layout import DATABASE, PG_SOCKET, ROLE, VALKEY_SOCKET

_TIMEOUT_S = 2.0
_PROTOCOL_3 = 196_608
_TOO_MANY_CONNECTIONS = "53300"


class PgRefused(ConnectionError):
    """PostgreSQL answered with an error; ``sqlstate`` says which."""

    def __init__(self, sqlstate: str, message: str) -> None:
        super().__init__(f"{sqlstate} {message}")
        self.sqlstate = sqlstate


class PgSession:
    """A session of simple queries. Raises OSError where the server cannot be reached or refuses."""

    def __init__(self, sockets: Path, user: str, database: str, timeout_s: float = _TIMEOUT_S) -> None:
        self.parameters: dict[str, str] = {}
        self._socket = _connect(sockets / PG_SOCKET, timeout_s)
        self._input = self._socket.makefile("rb")
        words = f"user\0{user}\0database\0{database}\0\0".encode()
        try:
            self._socket.sendall(struct.pack("!ii", 8 + len(words), _PROTOCOL_3) + words)
            self._until_ready()
        except BaseException:
            self.close()
            raise

    def execute(self, sql: str) -> None:
        """Run one statement; raises PgRefused."""
        body = sql.encode() + b"\0"
        self._socket.sendall(b"Q" + struct.pack("!i", 4 + len(body)) + body)
        self._until_ready()

    def close(self) -> None:
        """End the session."""
        self._input.close()
        self._socket.close()

    def _until_ready(self) -> None:
        refused: PgRefused | None = None
        while True:
            head = self._input.read(5)
            if len(head) < 5:
                raise refused or ConnectionResetError("PostgreSQL closed the connection")
            kind, size = struct.unpack("!ci", head)
            body = self._input.read(size - 4)
            if kind == b"E":
                refused = _refusal(body)
            elif kind == b"S":
                name, value, _ = body.decode().split("\0")
                self.parameters[name] = value
            elif kind == b"R" and body[:4] != b"\0\0\0\0":
                raise PgRefused("28000", "a password is asked for")
            elif kind == b"Z":
                if refused:
                    raise refused
                return


def postgres_version(sockets: Path) -> str | None:
    """The version of the server if it serves our database now, else None."""
    try:
        session = PgSession(sockets, ROLE, DATABASE)
    except PgRefused as refused:
        return "" if refused.sqlstate == _TOO_MANY_CONNECTIONS else None  # busy, but it serves
    except OSError:
        return None
    session.close()
    return session.parameters.get("server_version", "").split(" ")[0]


def valkey_version(sockets: Path) -> str | None:
    """The version of the server if it serves now (not while it loads its data), else None."""
    try:
        with _connect(sockets / VALKEY_SOCKET, _TIMEOUT_S) as connection, connection.makefile("rb") as answers:
            connection.sendall(b"PING\r\nINFO server\r\n")
            if not answers.readline().startswith(b"+PONG"):
                return None
            size = answers.readline()
            info = answers.read(int(size[1:])).decode() if size.startswith(b"$") else ""
    except OSError:
        return None
    return next((line.partition(":")[2].strip() for line in info.splitlines() if line.startswith("valkey_version")), "")


def _connect(path: Path, timeout_s: float) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(timeout_s)
    try:
        connection.connect(str(path))
    except BaseException:
        connection.close()
        raise
    return connection


def _refusal(body: bytes) -> PgRefused:
    fields = {part[:1]: part[1:].decode(errors="replace") for part in body.split(b"\0") if part}
    return PgRefused(fields.get(b"C", ""), fields.get(b"M", "no reason given"))
