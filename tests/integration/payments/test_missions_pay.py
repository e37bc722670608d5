"""Missions that buy on the local chain: with their own wallet, within their limits, and on the record.

Proves FR-680, FR-681, FR-682 and FR-683. All is real but the worth of the money and the models, which play a
script: the EVM, the signer's process, the shop behind HTTP 402, the CFO, the graphs of agents and payments, the guards.
"""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("web3", reason="the extra commerce is not installed")
pytest.importorskip("eth_tester", reason="the extra commerce is not installed")

from langchain_core.messages import AIMessage

from chimera import ChimeraSwarm
from chimera.commerce.assets import AssetStore
from chimera.commerce.budgets import BudgetStore, Limit
from chimera.commerce.chain.rpc import RpcChain
from chimera.commerce.chain.totals import totals_of
from chimera.commerce.local import shop as local_shop
from chimera.commerce.local.setup import LOCAL_DOLLAR, PRICE
from chimera.commerce.of_mission import payments_of
from chimera.commerce.reconcile import reconcile
from chimera.commerce.statement import balances
from chimera.commerce.verify import verify_ledger
from chimera.commerce.x402.selling import Paid
from chimera.core.clock import SystemClock
from chimera.core.contracts import BUY, PAY, Mission, MissionResult, ReviewDecision, ReviewItem
from chimera.core.settings import Settings
from chimera.review.answers import kind_of
from chimera.review.reviewers import SCRIPTED, scripted_reviewer
from chimera.store.audit import AuditLog
from chimera.store.embedded import Endpoints
from chimera.store.postgres import fetch, open_pool
from tests.integration.conftest import Play, Stage, Turn  # noqa: TID251 - the stage of missions, on a database of its own


class Shops:
    """Every shop that is opened meanwhile, so that a test can change its price."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.opened: list[Any] = []
        shops = self

        class Watched(Paid):
            def __init__(self, *given: Any) -> None:
                super().__init__(*given)
                shops.opened.append(self)

        monkeypatch.setattr(local_shop, "Paid", Watched)

    def ask(self, units: int) -> None:
        """Ask another price from now on."""
        for shop in self.opened:
            shop._price = replace(shop._price, units=units)


@pytest.fixture
def shops(monkeypatch: pytest.MonkeyPatch) -> Shops:
    return Shops(monkeypatch)


@pytest.fixture
def till(
    tmp_path: Path,
    database_url: str,
    enrol: Callable[..., None],
    endpoints: Endpoints,
    monkeypatch: pytest.MonkeyPatch,
) -> Stage:
    """A stage with money, on a database of its own."""
    enrol(database_url, "ada")

    def none(_settings: Settings) -> list[Any]:
        return []

    monkeypatch.setattr("chimera.app.first_party", none)
    urls = {"database_url": database_url, "redis_url": endpoints.redis_url, "payments": "local"}
    return Stage(Settings.model_validate({"home": tmp_path / "home", **urls}), tmp_path)


def play(*calls: tuple[str, dict[str, str]], name: str = "buyers") -> Play:
    """One task, whose agent makes these calls one after the other, and then says what came."""
    tools = list(dict.fromkeys(tool for tool, _ in calls))

    def work(turn: Turn) -> str | AIMessage:
        done = len(turn.results)
        if done == len(calls):
            return json.dumps(turn.results[-1])[:1_500]
        tool, arguments = calls[done]
        made = {"name": tool, "args": arguments, "id": f"c{done}", "type": "tool_call"}
        return AIMessage(content="", tool_calls=[made])

    task = Stage.task(1, title="get the report", tools=tools)
    return Stage.play({"the report": [Stage.plan(task)]}, work, split=["the report"], names=[name], confidence=0.9)


async def run(swarm: ChimeraSwarm, goal: str, reviewer: Any = None) -> MissionResult:
    return await swarm.run(Mission(goal=goal), reviewer=reviewer)


def origin(swarm: ChimeraSwarm) -> str:
    payments = swarm.app.context.payments
    assert payments is not None
    assert payments.spending is not None
    return payments.spending.sellers[0]


def answering(action: Any = "approve", before: Callable[[], None] = lambda: None) -> Any:
    """Ada, who answers what she is asked about payments; and a script that answers the rest."""

    async def answer(item: ReviewItem) -> ReviewDecision | None:
        if kind_of(item) != "payment":
            return await scripted_reviewer(item)
        before()
        return ReviewDecision(action=action, reviewer="ada", reason="seen")

    return answer


async def told(swarm: ChimeraSwarm, mission_id: str) -> list[str]:
    """What the record has of the money of a mission, oldest first."""
    query = "SELECT kind FROM audit_events WHERE mission_id = %s AND kind LIKE 'money.%%' ORDER BY seq"
    return [row["kind"] for row in await fetch(swarm.app.pool, query, (mission_id,))]


async def test_a_mission_buys_with_its_own_wallet_and_no_more_than_it_may(
    till: Stage, shops: Shops, database_url: str
) -> None:
    """The whole day: it buys, is stopped when it overspends, and when the price changes after people agreed."""
    opening = play()
    async with till.swarm(opening) as swarm:
        url = origin(swarm) + "/reports/teams"
        opening.work = play((BUY, {"url": url})).work
        opening.plans = play((BUY, {"url": url})).plans
        opening.split, opening.names = ["the report"], ["buyers"]
        bought = await run(swarm, f"get the report {url}", answering())
        assert bought.status == "done", bought.reasons
        assert "Quillfern" in bought.answer
        (paid,) = await payments_of(swarm.app.pool, bought.mission_id)
        assert (paid["state"], paid["payee"], paid["wallet"]) == ("delivered", "sample shop", "team:buyers")
        assert (paid["amount"], paid["agreed"], paid["cfo"], paid["local"]) == ("0.25 LUSD", ["ada"], "escalate", True)
        way = ["screened", "verdict", "agreed", "signed", "bought", "paid"]
        assert await told(swarm, bought.mission_id) == [f"money.{step}" for step in way]

        pool, audit = swarm.app.pool, swarm.app.context.audit
        budgets = BudgetStore(pool, AssetStore(pool, audit), audit)
        await budgets.set(Limit("default", "team", "buyers", LOCAL_DOLLAR, PRICE // 2), "ada")
        over = await run(swarm, f"get the report {url} again", answering())
        (refused,) = await payments_of(pool, over.mission_id)
        assert refused["state"] == "rejected"
        assert "budget" in refused["why"]
        assert refused["why"] in json.dumps(opening.requests("worker")[-1].results)

        await budgets.set(Limit("default", "team", "buyers", LOCAL_DOLLAR, 40 * PRICE), "ada")
        changed = await run(swarm, f"and again, the report {url}", answering(before=lambda: shops.ask(2 * PRICE)))
        (dearer,) = await payments_of(pool, changed.mission_id)
        assert (dearer["state"], dearer["transaction"]) == ("released", None)
        assert "another price" in dearer["why"]
        assert "money.price-changed" in await told(swarm, changed.mission_id)

        found = await balances(pool, "default")
        spent = {account: units for (account, asset), units in found.items() if asset == LOCAL_DOLLAR.id}
        assert spent["wallet:team:buyers"] == -PRICE, spent
        (await verify_ledger(pool, "default")).require()
        assert await _on_chain(swarm) == PRICE
        settings = swarm.app.settings
    async with open_pool(database_url) as pool:
        audit = AuditLog(pool, SystemClock())
        async with totals_of(settings, pool, audit) as totals:
            compared = await reconcile(pool, totals, "default")
    assert [(one.asset, one.agrees) for one in compared if one.asset == LOCAL_DOLLAR.id] == [(LOCAL_DOLLAR.id, True)]


async def test_a_page_that_tells_it_to_pay_somebody_pays_nobody(till: Stage, tmp_path: Path) -> None:
    """A payee whom only a page named is no payee: the call is stopped, and no payment is even proposed."""
    script = play((PAY, {"recipient": "mallory", "amount": "5", "asset": "LUSD", "purpose": "the overdue invoice"}))
    async with till.swarm(script) as swarm:
        result = await run(swarm, "read the page and get the report", scripted_reviewer)
        assert await payments_of(swarm.app.pool, result.mission_id) == []
        assert await fetch(swarm.app.pool, "SELECT 1 FROM intents") == []
        (turn,) = [turn for turn in script.requests("worker") if turn.results]
        assert "refused" in json.dumps(turn.results)


async def test_nobody_agrees_and_it_is_not_paid(till: Stage) -> None:
    """A human says no; a script says yes, which counts for money without worth alone; and the chain is there again."""
    script = play()
    for action, who in (("reject", "ada"), ("approve", SCRIPTED)):
        async with till.swarm(script) as swarm:
            url = origin(swarm) + "/reports/teams"
            made = play((BUY, {"url": url}))
            script.work, script.plans, script.split, script.names = made.work, made.plans, made.split, made.names
            asks = answering(action) if who == "ada" else scripted_reviewer
            result = await run(swarm, f"get the report {url} for {who}", asks)
            found = await payments_of(swarm.app.pool, result.mission_id)
            assert len(found) == 1, (result.answer, result.reasons)
            (paid,) = found
            if who == "ada":
                assert paid["state"] == "rejected"
                assert "ada" in paid["why"]
            else:
                assert (paid["state"], paid["agreed"]) == ("delivered", [SCRIPTED])
            assert await _on_chain(swarm) == (PRICE if who == SCRIPTED else 0)


async def _on_chain(swarm: ChimeraSwarm) -> int:
    """What the shop has been paid, by the chain."""
    payments = swarm.app.context.payments
    assert payments is not None
    chain: RpcChain = payments.payer.chain._chain  # type: ignore[union-attr] # pyright: ignore
    return await chain.balance(LOCAL_DOLLAR.address, "0x" + "5a" * 20)
