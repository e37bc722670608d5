"""Everything that the end-to-end part needs: servers, node, signer, workers, wallets with money, budgets and payees."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from chimera.bench.commerce.naive import NaivePayer, naive_payers
from chimera.bench.commerce.plan import CATEGORY, POOL, Plan
from chimera.bench.commerce.processes import NodeChild, SignerChild, WorkerChild, errors_of
from chimera.bench.commerce.worker import parts_of
from chimera.bench.fleet.servers import Servers, open_servers
from chimera.commerce.assets import AssetStore
from chimera.commerce.budget_use import Period, Scope
from chimera.commerce.budgets import BudgetStore, Limit
from chimera.commerce.cfo_key import load_key
from chimera.commerce.chain.embedded import COIN, LOCAL_CHAIN
from chimera.commerce.chain.rpc import RpcChain, connect_chain
from chimera.commerce.deciding import Deciding
from chimera.commerce.intents import Intent, IntentState
from chimera.commerce.payees import PayeeBook
from chimera.commerce.wallet.client import SignerClient
from chimera.commerce.wallets import WalletStore
from chimera.core.clock import SystemClock
from chimera.store.audit import AuditLog
from chimera.store.migrate import migrate
from chimera.store.postgres import Pool, open_pool

PLENTY = 10**15
COINS, UNITS = 10**18, 10**6
"""What each wallet is given."""
FEES = 10**24
_FUND_AT_ONCE = 25
_POOL = 24
_SPEED_AMOUNT = 1_000


@dataclass(frozen=True)
class Scene:
    """What is there. ``given``: all wallets of ours that have money; ``rates``: agents' wallets of those tenants."""

    plan: Plan
    place: Path
    servers: Servers
    pool: Pool
    node: NodeChild
    signer: SignerChild
    workers: Sequence[WorkerChild]
    truth: RpcChain
    asking: SignerClient
    deciding: Deciding
    audit: AuditLog
    given: Sequence[str]
    naive: Sequence[NaivePayer]
    fates: list[tuple[str, str, int]]
    """Where the next workers that are started kill themselves."""

    async def approved(self, tenant: str, agents: int, count: int) -> list[Intent]:
        """Payments of a tenant that are ready to be reserved, in turn of its agents."""
        seats = asyncio.Semaphore(8)
        (payee, *_) = self.plan.payees(0)

        async def one(number: int) -> Intent:
            asked = self.plan.proposal(
                tenant=tenant, key=str(number), payee=payee, amount=_SPEED_AMOUNT,
                agent=f"agent-{number % agents}", team="",
            )  # fmt: skip
            async with seats:
                intent = await self.deciding.ledger.propose(asked)
                if await self.deciding.decide(intent) is not IntentState.APPROVED:
                    raise AssertionError("a payment was not approved that nothing speaks against")
                return await self.deciding.ledger.intent(intent.id)

        return list(await asyncio.gather(*(one(number) for number in range(count))))

    async def wallets(self, tenant: str, agents: int) -> dict[str, str]:
        """The wallets of a tenant's agents, which are written down."""
        store = WalletStore(self.pool, self.audit)
        found: dict[str, str] = {}
        for agent in [f"agent-{number}" for number in range(agents)]:
            found[agent] = await self.asking.address(tenant, agent)
            await store.add(LOCAL_CHAIN, found[agent], tenant, agent, 0)
        return found


@asynccontextmanager
async def open_scene(plan: Plan, block_s: float, naive_agents: int, speed_agents: int) -> AsyncGenerator[Scene]:
    """Start everything, and leave nothing behind."""
    async with AsyncExitStack() as stack:
        servers = await stack.enter_async_context(open_servers())
        folder = Path(servers.home, "bench")
        signing = folder / "signer"
        await asyncio.to_thread(lambda: (folder.mkdir(mode=0o700), signing.mkdir(mode=0o700)))
        errors = errors_of(folder)
        key = await asyncio.to_thread(load_key, folder / "cfo")
        node = NodeChild(plan.seed, block_s, errors)
        signer = SignerChild(signing, str(key.address), errors)
        stack.push_async_callback(node.end)
        stack.push_async_callback(signer.end)
        await asyncio.gather(node.start(), signer.start())
        plan = replace(
            plan,
            database_url=servers.database_url,
            endpoints=node.urls,
            token=str(await node.order("bench_token")),
            signer=str(signing / "signer.sock"),
            cfo_key=str(folder / "cfo"),
        )
        place = folder / "plan.json"
        await asyncio.to_thread(plan.write, place)
        fates: list[tuple[str, str, int]] = []
        workers = [WorkerChild(place, index, fates, errors) for index in range(plan.workers)]
        pool = await stack.enter_async_context(open_pool(servers.database_url, _POOL))
        await migrate(pool)
        truth = await connect_chain(node.urls[2:], LOCAL_CHAIN)
        naive_chain = await connect_chain(node.urls[:1], LOCAL_CHAIN, 1.5)
        asking = SignerClient(Path(plan.signer))
        stack.push_async_callback(truth.close)
        stack.push_async_callback(naive_chain.close)
        stack.push_async_callback(asking.close)
        await _govern(pool, plan)
        naive = naive_payers(pool, naive_chain, plan, naive_agents)
        given = await _given(asking, plan, speed_agents)
        await _fund(node, plan, [*given, *(str(one.account.address) for one in naive)])
        deciding, _ = await parts_of(plan, pool, truth, asking)
        audit = AuditLog(pool, SystemClock())
        for worker in workers:
            stack.push_async_callback(worker.end)
        yield Scene(
            plan, place, servers, pool, node, signer, workers, truth, asking, deciding, audit, given, naive, fates
        )


async def _govern(pool: Pool, plan: Plan) -> None:
    """Set assets, budgets and payees, as people do."""
    audit = AuditLog(pool, SystemClock())
    assets, book = AssetStore(pool, audit), PayeeBook(pool, audit)
    budgets, token = BudgetStore(pool, assets, audit), plan.asset
    for asset in (COIN, token):
        await assets.add(asset, "bench")
    for tenant in range(plan.tenants):
        name, units = f"tenant-{tenant}", plan.amount(tenant)
        for scope, subject, period, window, room in plan.covered(tenant):
            await budgets.set(Limit(name, scope, subject, token, room * units, period, window), "bench")
        await budgets.set(Limit(name, "tenant", "", COIN, FEES), "bench")
        for number, payee in enumerate(plan.payees(tenant)):
            await book.add(name, f"shop {number}", payee, "bench", chain_id=LOCAL_CHAIN)
    shared: Sequence[tuple[Scope, str, Period, int]] = (
        ("tenant", "", "total", 0), ("tenant", "", "rolling", 86_400), ("category", CATEGORY, "total", 0),
        ("pool", POOL, "total", 0),
    )  # fmt: skip
    for name in ("ours", "usual"):
        for scope, subject, period, window in shared:
            await budgets.set(Limit(name, scope, subject, token, PLENTY, period, window), "bench")
        await budgets.set(Limit(name, "tenant", "", COIN, FEES), "bench")
        await book.add(name, "shop", plan.payees(0)[0], "bench", chain_id=LOCAL_CHAIN)


async def _given(asking: SignerClient, plan: Plan, speed_agents: int) -> list[str]:
    """The addresses of all wallets."""
    found = [await asking.address(plan.tenant(agent), f"agent-{agent}") for agent in range(plan.agents)]
    for tenant in ("ours", "usual"):
        found += [await asking.address(tenant, f"agent-{agent}") for agent in range(speed_agents)]
    return found


async def _fund(node: NodeChild, plan: Plan, addresses: Sequence[str]) -> None:
    for place in range(0, len(addresses), _FUND_AT_ONCE):
        await node.order("bench_fund", addresses[place : place + _FUND_AT_ONCE], COINS, plan.token, UNITS)
