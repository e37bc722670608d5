"""Processes that pay or buy and are killed: `python doomed.py ORDER`, of which one is forked for each point of a list.

Each takes one job and kills itself with SIGKILL right before the n-th thing that anybody outside of it would notice: a
message to the database, the signer, the CFO, the chain or a seller. So every state in which a process can leave the
world is left once. When one has got through without dying, or the list is at its end, a last one does all jobs. The
database is real, and so are the signer's and the CFO's processes where the order names them; the chain and the seller
are in the process of the test, behind a socket. What came of it is one line of JSON.
"""

import asyncio
import json
import os
import pickle
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import psycopg

from chimera.commerce.approvals import ApprovalStore
from chimera.commerce.assets import AssetStore, on_chain
from chimera.commerce.intents import FINAL, SPENT
from chimera.commerce.ledger import Ledger
from chimera.commerce.paying import Patience, Payer
from chimera.commerce.payment_policy import read_policy
from chimera.commerce.scoring import shipped_scorer
from chimera.commerce.setup import Installed, PaymentSetup, assemble
from chimera.commerce.wallet.authorizer import Authorizer
from chimera.commerce.wallet.client import SignerClient
from chimera.commerce.x402.asking import Asker
from chimera.commerce.x402.buying import Buyer, Parts
from chimera.commerce.x402.journal import PurchaseStore, Request
from chimera.commerce.x402.offers import Shop, Token
from chimera.commerce.x402.used import TokenChain
from chimera.commerce.x402.wanted import Wanted
from chimera.core.clock import SystemClock
from chimera.core.errors import ChimeraError
from chimera.core.ids import random_ids
from chimera.core.settings import Settings
from chimera.models.calls import Models
from chimera.models.gate import Caller, Sent
from chimera.store.audit import AuditLog
from chimera.store.missions import MissionStore
from chimera.store.postgres import Pool, open_pool
from chimera.store.usage import UsageLog

Order = dict[str, Any]


class Steps:
    """Counts what others notice of this process, once it is ``counting``, and ends it before the n-th."""

    def __init__(self, deadly: int) -> None:
        self._left = deadly
        self.counting = False

    def one(self) -> None:
        if self.counting and self._left:
            self._left -= 1
            if not self._left:
                os.kill(os.getpid(), signal.SIGKILL)

    def install(self) -> None:
        """Count what goes to the database, and what is written to sockets."""
        waits, writes = psycopg.AsyncConnection.wait, asyncio.StreamWriter.write

        async def wait(connection: Any, *values: Any, **named: Any) -> Any:
            self.one()
            return await waits(connection, *values, **named)

        def write(writer: Any, data: bytes) -> None:
            self.one()
            writes(writer, data)

        psycopg.AsyncConnection.wait = wait  # pyright: ignore[reportAttributeAccessIssue]
        asyncio.StreamWriter.write = write  # pyright: ignore[reportAttributeAccessIssue]


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


class FarSeller(httpx.AsyncBaseTransport):
    """The way to a seller at the other end of the socket."""

    def __init__(self, seller: Far) -> None:
        self._seller = seller

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        told = (request.method, str(request.url), dict(request.headers), await request.aread())
        status, headers, body = await self._seller.ask(*told)
        return httpx.Response(status, headers=headers, content=body)


class OpenGate:
    """Lets everything pass to models; none is configured here."""

    async def passed(self, caller: Caller, sent: Sent) -> Sent:
        return sent


async def pay(order: Order, jobs: list[str], steps: Steps) -> None:
    """Go on with payments that are reserved, until all have ended."""
    async with open_pool(order["url"], 4) as pool:
        audit = AuditLog(pool, SystemClock())
        ledger = Ledger(pool, AssetStore(pool, audit), audit, random_ids())
        chain, signer, cfo = (Far(name, order["place"], order["chain"]) for name in ("chain", "signer", "cfo"))
        patience = Patience(depth=1, poll_s=0.01, resend_s=0.0, stuck_s=3_600.0)
        payer = Payer(pool, ledger, audit, chain, signer, cfo, patience)  # pyright: ignore[reportArgumentType]
        steps.counting = True
        while True:
            await asyncio.gather(*(payer.step(each) for each in jobs))
            states = [(await ledger.intent(each)).state for each in jobs]
            if all(state in FINAL | SPENT for state in states):
                return
            await asyncio.sleep(0.01)


async def buy(order: Order, jobs: list[str], steps: Steps) -> None:
    """Buy one thing for each key, until all have come."""
    async with open_pool(order["url"], 4) as pool, httpx.AsyncClient(transport=seller_of(order)) as client:
        buyer, policy_version, signer = buyer_of(order, pool, client)
        steps.counting = True
        for key in jobs:
            wanted = Wanted(
                order["tenant"], key, Request(f"{order['origin']}/report/{key}"), "data", "ann", policy_version
            )
            for last in (False, False, True):
                try:
                    found = await buyer.buy(wanted)
                except ChimeraError:
                    if last:
                        raise
                    await asyncio.sleep(0.1)
                    continue
                assert found.goods is not None, found.state
                break
        await signer.close()


def seller_of(order: Order) -> FarSeller:
    return FarSeller(Far("seller", order["place"]))


def buyer_of(order: Order, pool: Pool, client: httpx.AsyncClient) -> tuple[Buyer, str, SignerClient]:
    """A buyer as an installation has it: what decides, the CFO's key and the signer are the real ones."""
    audit, url = AuditLog(pool, SystemClock()), order["url"]
    policy = read_policy(Path(order["policy"]))
    calm = replace(shipped_scorer(), look=2.0)
    setup = PaymentSetup(policy, cfo_socket=Path(order["cfo"]), cfo_address=order["cfo_address"], scorer=calm)
    settings = Settings.model_validate({"database_url": url, "model_retries": 0})
    models = Models(settings, UsageLog(pool), random_ids(), None, gate=OpenGate())
    installed = Installed(pool, audit, models, MissionStore(pool, url), SystemClock(), random_ids(), settings)
    deciding = assemble(setup, installed).deciding
    token = Token(on_chain("TUSD", order["chain"], 6, order["token"]), "Test dollar", "2")
    signer = SignerClient(Path(order["signer"]))
    evm: Any = Far("evm", order["place"], order["chain"])
    parts = Parts(
        ledger=deciding.ledger,
        store=PurchaseStore(pool),
        asker=Asker(client),
        decide=deciding,
        signer=Authorizer(signer, ApprovalStore(pool)),
        chain=TokenChain(evm, depth=1),
        audit=audit,
    )
    shop = Shop(order["origin"], token, order["keeper"], 5_000_000)
    return Buyer(parts, [shop], confirm_s=5.0), policy.version, signer


def die(what: Callable[..., Any], order: Order, jobs: list[str], deadly: int) -> int:
    """Do jobs in a process of their own that ends at a step, or with 0 for none; how it ended."""
    if pid := os.fork():
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    code = 1
    try:
        steps = Steps(deadly)
        steps.install()
        asyncio.run(what(order, jobs, steps))
        code = 0
    finally:
        sys.stderr.flush()
        if code:
            import traceback

            traceback.print_exc()
        os._exit(code)


def main(order: Order) -> None:
    what = {"pay": pay, "buy": buy}[order["what"]]
    codes: list[int] = []
    for job, deadly in zip(order["jobs"], order["points"], strict=False):
        codes.append(die(what, order, [job], deadly))
        if codes[-1] == 0:
            break
    last = die(what, order, order["jobs"], 0)
    print(json.dumps({"codes": codes, "last": last}), flush=True)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
