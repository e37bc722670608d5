"""The signer as a command: ``python -m chimera.commerce.wallet``.

The passphrase comes from a file descriptor that whoever starts it leaves open, so it is in no argument, environment
or file.
"""

import argparse
import asyncio
import os
import signal
import sys
from pathlib import Path

from chimera.commerce.wallet.book import SignedBook
from chimera.commerce.wallet.keys import make_keystore, open_keystore
from chimera.commerce.wallet.rules import PaymentSigner, Trusted
from chimera.commerce.wallet.server import SignerServer, harden
from chimera.core.errors import ChimeraError

SOCKET, KEYSTORE, BOOK = "signer.sock", "keystore.json", "signed.db"
_LONGEST = 4_096


def main() -> int:
    """Serve until told to end; 0 then, 1 when it cannot be started."""
    parser = argparse.ArgumentParser(prog="python -m chimera.commerce.wallet", description=__doc__)
    parser.add_argument("folder", type=Path, help="of the signer: keystore, book and socket; mode 700")
    parser.add_argument("--cfo", action="append", required=True, help="address whose approvals count")
    parser.add_argument("--chain", action="append", type=int, required=True, help="id of a chain to pay on")
    parser.add_argument("--passphrase-fd", type=int, default=0, help="descriptor that the passphrase is read from")
    parser.add_argument("--user", action="append", type=int, help="user ids that may ask; default: this one")
    parser.add_argument("--make", action="store_true", help="make a keystore if there is none")
    parser.add_argument("--while-stdin", action="store_true", help="end when the standard input does")
    parser.add_argument("--scrypt", type=int, default=None, help=argparse.SUPPRESS)
    told = parser.parse_args()
    harden()
    try:
        with os.fdopen(told.passphrase_fd, "rb") as stream:
            passphrase = stream.read(_LONGEST).decode().rstrip("\n")
        keystore = told.folder / KEYSTORE
        if told.make and not keystore.exists():
            make_keystore(keystore, passphrase, iterations=told.scrypt)
        keys = open_keystore(keystore, passphrase)
        del passphrase
        signer = PaymentSigner(
            keys, SignedBook(told.folder / BOOK), Trusted(frozenset(told.cfo), frozenset(told.chain))
        )
        asyncio.run(_serve(SignerServer(signer, told.user), told.folder / SOCKET, told.while_stdin))
    except ChimeraError as error:
        sys.stderr.write(f"{error}\n{error.hint}\n")
        return 1
    return 0


async def _serve(server: SignerServer, place: Path, while_stdin: bool) -> None:
    ready = asyncio.Event()
    serving = asyncio.create_task(server.serve(place, ready))
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, serving.cancel)
    announcing = asyncio.create_task(_announce(ready))
    if while_stdin:  # whoever started it holds the other end, and the kernel closes that with him
        asyncio.get_running_loop().add_reader(sys.stdin.fileno(), serving.cancel)
    try:
        await serving
    except asyncio.CancelledError:
        pass
    finally:
        announcing.cancel()


async def _announce(ready: asyncio.Event) -> None:
    await ready.wait()
    sys.stdout.write("ready\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
