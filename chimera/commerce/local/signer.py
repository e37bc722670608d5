"""Starts the signer's process for as long as this one runs; it ends with it, however that ends."""

import asyncio
import os
import secrets
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

from chimera.commerce.wallet.client import SignerClient
from chimera.core.errors import SignerDown

START_S = 30.0
STOP_S = 5.0
_SCRYPT = 16_384
"""Of the keystore on this machine, whose passphrase lies beside it: it guards money without worth."""


@asynccontextmanager
async def started_signer(folder: Path, cfo: str, chain_id: int) -> AsyncGenerator[SignerClient]:
    """A signer with a keystore in a folder, which trusts one CFO on one chain.

    Raises:
        SignerDown: it does not start.
    """
    await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True, mode=0o700)
    passphrase = await asyncio.to_thread(_passphrase, folder / "passphrase")
    read, write = os.pipe()
    os.write(write, passphrase.encode() + b"\n")
    os.close(write)
    arguments = ["--cfo", cfo, "--chain", str(chain_id), "--passphrase-fd", str(read), "--make", "--while-stdin"]
    try:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", "chimera.commerce.wallet", str(folder), *arguments),
            *("--scrypt", str(_SCRYPT)),
            pass_fds=(read,),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
    finally:
        os.close(read)
    client = SignerClient(folder / "signer.sock")
    try:
        await _ready(process)
        yield client
    finally:
        await client.close()
        if process.returncode is None:
            process.terminate()
        try:
            async with asyncio.timeout(STOP_S):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()


async def _ready(process: asyncio.subprocess.Process) -> None:
    told, complained = process.stdout, process.stderr
    if told is None or complained is None:
        raise SignerDown("the signer was started without pipes")
    try:
        async with asyncio.timeout(START_S):
            if await told.readline():
                return
            why = (await complained.read(2_000)).decode(errors="replace").strip()
    except TimeoutError:
        why = f"it is not ready after {START_S:g} s"
    raise SignerDown(f"the signer does not start: {why[-300:] or 'it says nothing'}")


def _passphrase(place: Path) -> str:
    """The passphrase in a file of this user alone; made when there is none."""
    try:
        descriptor = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return place.read_text("ascii").strip()
    with os.fdopen(descriptor, "w") as file:
        file.write(made := secrets.token_urlsafe(32))
    return made
