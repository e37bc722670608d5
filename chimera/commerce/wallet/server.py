"""The signer's process: a socket in a folder of its owner, three calls, and nothing else.

Who is connected is asked of the kernel (SO_PEERCRED), not of the peer. The process cannot be traced, leaves no core
dump, and answers every refusal with its reason; it knows neither the database nor the chain.
"""

import asyncio
import contextlib
import ctypes
import json
import os
import resource
import socket
import struct
import sys
from collections.abc import Collection
from pathlib import Path
from typing import Any, cast

from chimera.commerce.wallet.authorizing import read_authorize
from chimera.commerce.wallet.request import LENGTH_BYTES, MOST_BYTES, frame, read_request, write_signed
from chimera.commerce.wallet.rules import PaymentSigner
from chimera.core.errors import ChimeraError, ConfigError, SignerRefused

MOST_PEERS = 64
_SEND_S = 10.0
_PR_SET_DUMPABLE = 4
_CREDENTIALS = struct.Struct("3i")


class SignerServer:
    """Serves a :class:`PaymentSigner` on a Unix socket to processes of certain users."""

    def __init__(self, signer: PaymentSigner, users: Collection[int] | None = None) -> None:
        self._signer = signer
        self._users = frozenset({os.getuid()} if users is None else users)
        self._peers: set[asyncio.Task[None]] = set()

    async def serve(self, place: Path, ready: asyncio.Event) -> None:
        """Serve until cancelled. ``ready`` is set once others can connect.

        Raises:
            ConfigError: the folder is open to others, the system does not say who is connected, or a signer serves
            there.
        """
        if not hasattr(socket, "SO_PEERCRED"):
            raise ConfigError("this system does not say who is connected to a socket, so no signer runs on it")
        _check_folder(place.parent)
        await _clear(place)
        server = await asyncio.start_unix_server(self._meet, place)
        os.chmod(place, 0o600)
        ready.set()
        try:
            async with server:
                await server.serve_forever()
        finally:
            for task in self._peers:
                task.cancel()
            _remove(place)

    async def _meet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a callback of the server is one
        self._peers.add(task)
        try:
            if self._welcome(writer) and len(self._peers) <= MOST_PEERS:
                await self._answer_all(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError, TimeoutError):
            pass  # the peer went away, or does not read: what it has asked for is in the book
        finally:
            self._peers.discard(task)
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    def _welcome(self, writer: asyncio.StreamWriter) -> bool:
        peer = writer.get_extra_info("socket")
        _, user, _ = _CREDENTIALS.unpack(peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
        return user in self._users

    async def _answer_all(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            length = int.from_bytes(await reader.readexactly(LENGTH_BYTES), "big")
            if length > MOST_BYTES:
                return
            writer.write(frame(self.answer(await reader.readexactly(length))))
            async with asyncio.timeout(_SEND_S):
                await writer.drain()

    def answer(self, body: bytes) -> dict[str, Any]:
        """What is said to a request: an address, what was signed, or why not."""
        try:
            read: object = json.loads(body)
            if not isinstance(read, dict):
                raise SignerRefused("a request to the signer is an object")
            message = cast("dict[str, Any]", read)
            match message.get("call"):
                case "address" if set(message) == {"call", "tenant", "agent"}:
                    return {"address": self._signer.address(str(message["tenant"]), str(message["agent"]))}
                case "sign_payment":
                    return {"signed": write_signed(self._signer.sign_payment(read_request(message)))}
                case "sign_authorization":
                    return {"signature": self._signer.sign_authorization(read_authorize(message)).hex()}
                case _:
                    raise SignerRefused("the signer signs payments that were approved, and nothing else")
        except ChimeraError as error:
            return {
                "refused": error.message,
                "context": {k: v for k, v in error.context.items() if k in ("before", "free")},
            }
        except (ValueError, RecursionError) as error:
            return {"refused": f"a request to the signer cannot be read: {type(error).__name__}", "context": {}}


def harden() -> None:
    """Let nobody of the same user look into this process, and leave no core dump of it."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def _check_folder(folder: Path) -> None:
    if folder.stat().st_mode & 0o077:
        raise ConfigError("the signer's folder is open to others", remedy=f"chmod 700 {folder}")


def _remove(place: Path) -> None:
    place.unlink(missing_ok=True)


async def _clear(place: Path) -> None:
    """Take away the socket of a signer that is gone."""
    try:
        _, writer = await asyncio.open_unix_connection(place)
    except OSError:
        _remove(place)
        return
    writer.close()
    await writer.wait_closed()
    raise ConfigError("a signer serves there already")
