"""The process that holds the CFO's key: ``python -m chimera.commerce.cfo_process --socket S --key K --policy P``.

It listens on a Unix socket that its own user alone can open, takes the id of a payment, and looks it up by itself, with
a connection of its own to the database (``CHIMERA_DATABASE_URL``). Agents' processes have no way to the file of the
key; where they run under another user, ``--caller UID`` lets that user ask, and still not read it.
"""

import argparse
import asyncio
import os
import signal
import socket
import struct
import sys
from pathlib import Path

from chimera.commerce.approvals import ApprovalStore
from chimera.commerce.assets import AssetStore
from chimera.commerce.cfo_key import ANSWER_S, LINE_MAX, CfoDesk, CfoSigner, answered, load_key
from chimera.commerce.findings import FindingStore
from chimera.commerce.ledger import Ledger
from chimera.commerce.payment_policy import read_policy
from chimera.core.clock import SystemClock
from chimera.core.errors import ChimeraError
from chimera.core.ids import random_ids
from chimera.store.audit import AuditLog
from chimera.store.postgres import open_pool

_CREDENTIALS = struct.Struct("3i")
DATABASE = "CHIMERA_DATABASE_URL"


async def serve(path: Path, desk: CfoSigner, callers: set[int]) -> asyncio.Server:
    """Listen, and answer whoever is one of the callers, by what the kernel says of him."""
    import json

    async def attend(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(ANSWER_S):
                if _uid(writer.get_extra_info("socket")) in callers:
                    said = await answered(desk, await reader.readline())
                else:
                    said = {"refused": "the kernel says that you are somebody else"}
                writer.write(json.dumps(said).encode() + b"\n")
                await writer.drain()
        except (OSError, TimeoutError, ValueError):  # whoever asked is gone, or never said anything; nothing was signed
            pass
        finally:
            writer.close()

    await asyncio.to_thread(path.unlink, missing_ok=True)
    before = os.umask(0o177 if callers <= {os.getuid()} else 0o111)
    try:
        return await asyncio.start_unix_server(attend, str(path), limit=LINE_MAX)
    finally:
        os.umask(before)


def _uid(connection: socket.socket) -> int:
    """The user at the other end."""
    if not hasattr(socket, "SO_PEERCRED"):  # only the file's mode guards the socket there
        return os.getuid()
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    return int(_CREDENTIALS.unpack(raw)[1])


async def run(socket_path: Path, key: Path, policy: Path, callers: set[int]) -> None:
    """Serve until the process is told to end."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    rules = await asyncio.to_thread(read_policy, policy)
    account = await asyncio.to_thread(load_key, key)
    async with open_pool(os.environ[DATABASE], 2) as pool:
        audit = AuditLog(pool, SystemClock())
        ledger = Ledger(pool, AssetStore(pool, audit), audit, random_ids(), "cfo")
        desk = CfoDesk(account, ledger, FindingStore(pool), ApprovalStore(pool), rules, audit)
        async with await serve(socket_path, desk, callers):
            sys.stdout.write(f"{desk.address}\n")
            sys.stdout.flush()
            await stop.wait()
    await asyncio.to_thread(socket_path.unlink, missing_ok=True)


def main() -> int:
    """Read the arguments and serve; 1 when it cannot."""
    parser = argparse.ArgumentParser(prog="chimera-cfo", description=__doc__)
    for name in ("socket", "key", "policy"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--caller", type=int, action="append", default=[], help="a user who may ask, besides this one")
    given = parser.parse_args()
    if DATABASE not in os.environ:
        parser.error(f"{DATABASE} names the database")
    try:
        asyncio.run(run(given.socket, given.key, given.policy, {os.getuid(), *given.caller}))
    except ChimeraError as error:
        sys.stderr.write(f"{error.code} {error.message}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
