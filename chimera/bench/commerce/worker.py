"""A process of the benchmark that proposes, decides and pays: ``python -m ... PLAN INDEX [PART.METHOD WHEN N]``.

It lets its share of the agents propose all their payments at once, has each decided, reserves those that are approved,
and goes on with payments of everybody, as :class:`~chimera.commerce.paying.Payer` does, until it is told to end. Where
a step is named, the process kills itself there: before or after the N-th time.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from chimera.bench.commerce.parent import end_with_parent
from chimera.bench.commerce.plan import Plan, patience, read_plan
from chimera.commerce.cfo_key import load_key
from chimera.commerce.chain.embedded import LOCAL_CHAIN
from chimera.commerce.chain.rpc import RpcChain, connect_chain
from chimera.commerce.deciding import Deciding
from chimera.commerce.intents import IntentState, Proposal
from chimera.commerce.paying import Payer
from chimera.commerce.setup import Installed, PaymentSetup, assemble
from chimera.commerce.wallet.client import SignerClient
from chimera.core.clock import SystemClock
from chimera.core.errors import ChainDisagrees, ChainDown, StoreError
from chimera.core.ids import random_ids
from chimera.core.settings import Settings
from chimera.core.tasks import stop
from chimera.models.calls import Models
from chimera.models.gate import Caller, Sent
from chimera.store.audit import AuditLog
from chimera.store.missions import MissionStore
from chimera.store.postgres import Pool, open_pool
from chimera.store.usage import UsageLog

STEPS = (
    "ledger.propose", "screening.screen", "risk.judge", "cfo.review", "desk.sign", "ledger.reserve", "ledger.move",
    "signer.sign_payment", "chain.send_raw", "wallets.sent", "chain.receipt", "chain.balance", "wallets.mined",
    "ledger.capture",
)  # fmt: skip
"""Where a worker can be told to die."""
AT_ONCE = 24
POOL, ANSWER_S, AGAIN_S, LOOK_S = 12, 3.0, 0.5, 0.1


class NoModel:
    """Stands where requests to models are judged: none is made, rules alone decide."""

    async def passed(self, caller: Caller, sent: Sent) -> Sent:
        """Let nothing pass."""
        raise AssertionError(f"nothing asks a model here, and {caller.agent} did")


async def parts_of(plan: Plan, pool: Pool, chain: RpcChain, signer: SignerClient) -> tuple[Deciding, Payer]:
    """What decides and what pays, as an installation has it."""
    audit, new_id = AuditLog(pool, SystemClock()), random_ids()
    settings = Settings.model_validate({"database_url": plan.database_url})
    models = Models(settings, UsageLog(pool), new_id, gate=NoModel())
    key = await asyncio.to_thread(load_key, Path(plan.cfo_key))
    missions = MissionStore(pool, plan.database_url)
    setup = PaymentSetup(plan.policy, cfo_key=key)
    deciding = assemble(setup, Installed(pool, audit, models, missions, SystemClock(), new_id, settings)).deciding
    payer = Payer(pool, deciding.ledger, audit, chain, signer, deciding.approvals, patience())
    return deciding, payer


async def proposed(deciding: Deciding, asked: Proposal) -> None:
    """Propose a payment, have it decided, and reserve it, whoever was killed in the middle of it before."""
    while True:
        try:
            intent = await deciding.ledger.propose(asked)
            if await deciding.decide(intent) is IntentState.APPROVED:
                await deciding.reserve(intent.id)
        except (StoreError, TimeoutError):
            await asyncio.sleep(AGAIN_S)
        else:
            return


async def propose_all(plan: Plan, deciding: Deciding, index: int, go: Path) -> None:
    """Let the agents of a worker propose all their payments at once, as soon as they are told to."""
    while not await asyncio.to_thread(go.exists):  # noqa: ASYNC110 - another process says so, by a file
        await asyncio.sleep(LOOK_S)
    seats = asyncio.Semaphore(AT_ONCE)

    async def one(asked: Proposal) -> None:
        async with seats:
            await proposed(deciding, asked)

    async with asyncio.TaskGroup() as group:
        for agent in range(index, plan.agents, plan.workers):
            for asked in plan.proposals(agent):
                group.create_task(one(asked))


def go_of(plan: Path) -> Path:
    """The file by which workers are told to let the agents propose."""
    return plan.with_suffix(".go")


def doom(parts: dict[str, Any], step: str, when: str, times: int) -> None:
    """Let this process be killed at a step of it, the N-th time, before or after it is done."""
    part, method = step.split(".")
    inner: Callable[..., Awaitable[Any]] = getattr(parts[part], method)
    left = times

    async def deadly(*values: Any, **named: Any) -> Any:
        nonlocal left
        left -= 1
        last = left == 0
        if last and when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        found = await inner(*values, **named)
        if last:
            os.kill(os.getpid(), signal.SIGKILL)
        return found

    setattr(parts[part], method, deadly)


async def work(plan: Plan, index: int, go: Path, doomed: list[str]) -> None:
    """Work until told to end."""
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    chain, signer = await connected(plan), SignerClient(Path(plan.signer))
    try:
        async with open_pool(plan.database_url, POOL) as pool:
            deciding, payer = await parts_of(plan, pool, chain, signer)
            parts: dict[str, Any] = {
                "ledger": deciding.ledger, "screening": deciding.screening, "risk": deciding.risk,
                "cfo": deciding.cfo, "desk": deciding.signer, "signer": signer, "chain": chain,
                "wallets": payer.wallets,
            }  # fmt: skip
            if doomed:
                doom(parts, doomed[0], doomed[1], int(doomed[2]))
            sys.stdout.write("ready\n")
            sys.stdout.flush()
            watching = asyncio.create_task(end_with_parent())
            async with asyncio.TaskGroup() as group:
                proposing = group.create_task(propose_all(plan, deciding, index, go))
                await payer.run(ended, begin=True)
                await stop(proposing)
            await stop(watching)
    finally:
        await signer.close()
        await chain.close()


async def connected(plan: Plan) -> RpcChain:
    """The chain by its two endpoints, as soon as both answer."""
    while True:
        try:
            return await connect_chain(plan.endpoints[:2], LOCAL_CHAIN, ANSWER_S)
        except (ChainDown, ChainDisagrees):
            await asyncio.sleep(AGAIN_S)


def main() -> int:
    """Read the arguments and work."""
    place = Path(sys.argv[1])
    asyncio.run(work(read_plan(place), int(sys.argv[2]), go_of(place), sys.argv[3:]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
