"""A payer in a process of its own, to be killed: its database is real, its chain and signer are asked over a socket.

Run as `python doomed.py DATABASE_URL SOCKET CHAIN_ID PAYMENT...`; it goes on until all have ended, and says so.
"""

import asyncio
import pickle
import sys
from typing import Any

from chimera.commerce.assets import AssetStore
from chimera.commerce.intents import FINAL, SPENT
from chimera.commerce.ledger import Ledger
from chimera.commerce.paying import Patience, Payer
from chimera.core.clock import SystemClock
from chimera.core.ids import random_ids
from chimera.store.audit import AuditLog
from chimera.store.postgres import open_pool


class Far:
    """Something at the other end of the socket; whatever is called on it is called there."""

    def __init__(self, name: str, place: str, chain_id: int = 0) -> None:
        self._name = name
        self._place = place
        self.chain_id = chain_id

    def __getattr__(self, method: str) -> Any:
        async def call(*values: Any, **named: Any) -> Any:
            reader, writer = await asyncio.open_unix_connection(self._place)
            asked = pickle.dumps((self._name, method, values, named))
            writer.write(len(asked).to_bytes(4, "big") + asked)
            await writer.drain()
            length = int.from_bytes(await reader.readexactly(4), "big")
            good, answer = pickle.loads(await reader.readexactly(length))
            writer.close()
            if not good:
                raise answer
            return answer

        return call


async def main(url: str, place: str, chain_id: int, payments: list[str]) -> None:
    async with open_pool(url, 4) as pool:
        audit = AuditLog(pool, SystemClock())
        ledger = Ledger(pool, AssetStore(pool, audit), audit, random_ids())
        chain, signer, cfo = (Far(name, place, chain_id) for name in ("chain", "signer", "cfo"))
        patience = Patience(depth=1, poll_s=0.01, resend_s=0.0, stuck_s=3_600.0)
        payer = Payer(pool, ledger, audit, chain, signer, cfo, patience)  # pyright: ignore[reportArgumentType]
        while True:
            await asyncio.gather(*(payer.step(each) for each in payments))
            states = [(await ledger.intent(each)).state for each in payments]
            if all(state in FINAL | SPENT for state in states):
                print("ended", flush=True)
                return
            await asyncio.sleep(0.01)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4:]))
