"""Whether the process of a server listens on a port, on Linux: a server over stdio has no reason to."""

import os
from pathlib import Path

_LISTENS = "0A"


def listening_port(log: Path) -> int | None:
    """A TCP port that a process listens on whose standard error is the file ``log`` (proc(5)); None: there is none."""
    ports, written = _listening(), str(log.resolve())
    for folder in Path("/proc").glob("[0-9]*/fd") if ports else ():
        try:
            if os.readlink(folder / "2") != written:
                continue
            opened = {os.readlink(end) for end in folder.iterdir()}
        except OSError:
            continue  # it has ended, or is not ours
        for socket, port in ports.items():
            if socket in opened:
                return port
    return None


def _listening() -> dict[str, int]:
    """The ports that are listened on in this network, by the name that their socket has among a process's files."""
    found: dict[str, int] = {}
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            rows = Path(table).read_text("ascii").splitlines()[1:]
        except OSError:
            continue
        for local, _, state, *_, inode in (row.split()[1:10] for row in rows):
            if state == _LISTENS:
                found[f"socket:[{inode}]"] = int(local.rpartition(":")[2], 16)
    return found
