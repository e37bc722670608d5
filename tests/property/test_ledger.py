"""The ledger beside a plain model of it, on a real Postgres: random payments, holds, captures, refunds and times.

Proves FR-605, FR-606, FR-608, FR-609 and FR-611. Threats 4, 5, 38, 39 and 40. The model keeps what was captured when,
and computes what every budget holds and has spent anew each time. After each step the two agree on every answer,
every budget and every state; no budget, over any calendar day and any rolling window, is overspent.
"""

import asyncio
import itertools
import uuid
from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from psycopg.rows import dict_row

from chimera.commerce.assets import USD
from chimera.commerce.verify import verify_ledger
from chimera.store.postgres import open_pool

Row = dict[str, Any]
BEGIN = 1_772_323_200  # 2026-03-01 00:00:00 UTC, a Sunday
DAY, WINDOW = 86_400, 3_600
CAPS = {"total": 500, "day": 200, "rolling": 120, "agent": 90}
AMOUNTS = st.one_of(st.integers(1, 60), st.integers(-3, 200))


@dataclass
class Payment:
    """A payment of the model. ``captures``: when it was captured, and what of it has not come back."""

    amount: int
    agent: str
    expires: int
    state: str = "approved"
    captured: int = 0
    refunded: int = 0
    captured_at: int = 0
    refunds: dict[str, int] = field(default_factory=dict[str, int])

    @property
    def held(self) -> int:
        """What is reserved for it."""
        return self.amount if self.state in ("reserved", "signed", "confirmed") else 0

    @property
    def spent(self) -> int:
        """What it cost in the end."""
        return self.captured - self.refunded


class LedgerMachine(RuleBasedStateMachine):
    """Calls the functions of the database, and the model beside them."""

    payments = Bundle("payments")
    connection: psycopg.Connection[Row]
    url: str

    def __init__(self) -> None:
        super().__init__()
        self.tenant = f"t{uuid.uuid4().hex[:12]}"
        self.model: dict[str, Payment] = {}
        self.now = BEGIN
        self.numbers = itertools.count()

    def ask(self, query: str, *values: Any) -> Row:
        row = self.connection.execute(query.encode(), values).fetchone()
        assert row is not None
        return row

    @initialize()
    def begin(self) -> None:
        self.tick(0)
        self.connection.execute("SET ROLE chimera_ledger")
        kinds = [("tenant", "", "total", 0, "total"), ("tenant", "", "day", 0, "day")]
        kinds += [("tenant", "", "rolling", WINDOW, "rolling"), ("agent", "ann", "total", 0, "agent")]
        for scope, subject, period, window, name in kinds:
            self.ask(
                "SELECT id FROM set_budget(%s, %s, %s, %s, %s, %s, %s::numeric, false, 'ada')",
                *(self.tenant, scope, subject, USD, period, window, CAPS[name]),
            )
        self.connection.execute("RESET ROLE")

    # --- the model -----------------------------------------------------------------------------------------------

    def used(self, name: str) -> tuple[int, int]:
        """What a budget holds and has spent, by the model."""
        mine = [one for one in self.model.values() if name != "agent" or one.agent == "ann"]
        since = {"day": self.now - self.now % DAY, "rolling": self.now - WINDOW + 1}.get(name, 0)
        return sum(one.held for one in mine), sum(one.spent for one in mine if one.captured_at >= since)

    def has_room(self, amount: int, agent: str) -> bool:
        names = [name for name in CAPS if name != "agent" or agent == "ann"]
        return all(sum(self.used(name)) + amount <= CAPS[name] for name in names)

    # --- steps ---------------------------------------------------------------------------------------------------

    @rule(seconds=st.sampled_from([0, 1, 30, WINDOW - 1, WINDOW, WINDOW + 1, DAY // 2, DAY - 1, DAY]))
    def tick(self, seconds: int) -> None:
        """Time passes."""
        self.now += seconds
        self.connection.execute("SELECT set_config('test.now', %s, false)", (str(self.now),))

    @rule(
        target=payments, amount=st.integers(1, 120), agent=st.sampled_from(["ann", "bob"]), ttl=st.integers(60, 9_000)
    )
    def approve(self, amount: int, agent: str, ttl: int) -> str:
        found = self.ask(
            "SELECT * FROM propose_intent(gen_random_uuid(), %s, %s, 'shop', %s, NULL, %s, %s, 0, 'why', 'data', %s, "
            "'', '', '', 'p', %s)",
            *(self.tenant, f"k{next(self.numbers)}", USD, amount, USD, agent, ttl),
        )
        intent = str(found["intent"])
        for old, new in (("proposed", "screened"), ("screened", "approved")):
            assert self.move(intent, old, new) == "ok"
        self.model[intent] = Payment(amount, agent, self.now + ttl)
        return intent

    def move(self, intent: str, old: str, new: str) -> str:
        return str(self.ask("SELECT * FROM move_intent(%s, ARRAY[%s], %s, 'ada', '')", intent, old, new)["outcome"])

    @rule(intent=payments)
    def reserve(self, intent: str) -> None:
        one = self.model[intent]
        if one.state != "approved":
            expected = "duplicate" if one.state == "reserved" else "state"
        elif one.expires <= self.now:
            expected = "expired"
        else:
            expected = "ok" if self.has_room(one.amount, one.agent) else "over"
        digest = self.ask("SELECT digest FROM intents WHERE id = %s", intent)["digest"]
        found = self.ask(
            "SELECT * FROM reserve_intents(ARRAY[%s]::uuid[], ARRAY[%s]::bytea[], ARRAY['{}'], 'x')", intent, digest
        )
        assert found["outcome"] == expected
        if expected == "ok":
            one.state = "reserved"

    @rule(intent=payments)
    def sign(self, intent: str) -> None:
        one = self.model[intent]
        expected = "expired" if one.expires <= self.now else "ok"
        if one.state != "reserved":
            expected = "duplicate" if one.state == "signed" else "state"
        assert self.move(intent, "reserved", "signed") == expected
        if expected == "ok":
            one.state = "signed"

    @rule(intent=payments)
    def confirm(self, intent: str) -> None:
        one = self.model[intent]
        if one.state == "signed":
            assert self.move(intent, "signed", "broadcast") == "ok"
            assert self.move(intent, "broadcast", "confirmed") == "ok"
            one.state = "confirmed"

    @rule(intent=payments, amount=AMOUNTS)
    def capture(self, intent: str, amount: int) -> None:
        one = self.model[intent]
        if one.state in ("captured", "refunded"):
            expected = "duplicate" if amount == one.captured else "conflict"
        elif one.state != "confirmed":
            expected = "state"
        elif amount <= 0:
            expected = "bad_amount"
        else:
            expected = "ok" if amount <= one.amount else "too_much"
        query = "SELECT * FROM capture_intents(ARRAY[%s]::uuid[], ARRAY[%s]::numeric[], ARRAY[0]::numeric[], 'x')"
        assert self.ask(query, intent, amount)["outcome"] == expected
        if expected == "ok":
            one.state, one.captured, one.captured_at = "captured", amount, self.now

    @rule(intent=payments, steps=st.integers(1, 4))
    def go_on(self, intent: str, steps: int) -> None:
        """The usual way of a payment, so that many get far."""
        one = self.model[intent]
        for _ in range(steps):
            if one.state == "confirmed":
                self.capture(intent, one.amount)
            elif step := {"approved": self.reserve, "reserved": self.sign, "signed": self.confirm}.get(one.state):
                step(intent)

    @rule(intent=payments)
    def release(self, intent: str) -> None:
        one = self.model[intent]
        expected = {"reserved": "ok", "released": "duplicate", "expired": "duplicate"}.get(one.state, "state")
        query = "SELECT * FROM release_intents(ARRAY[%s]::uuid[], ARRAY[0]::numeric[], 'x', 'x')"
        assert self.ask(query, intent)["outcome"] == expected
        if expected == "ok":
            one.state = "released"

    @rule(intent=payments, amount=AMOUNTS, key=st.sampled_from("abc"))
    def refund(self, intent: str, amount: int, key: str) -> None:
        one = self.model[intent]
        if key in one.refunds:
            expected = "duplicate" if one.refunds[key] == amount else "conflict"
        elif one.state not in ("captured", "refunded"):
            expected = "state"
        elif amount <= 0:
            expected = "bad_amount"
        else:
            expected = "ok" if amount <= one.captured - one.refunded else "too_much"
        query = "SELECT * FROM refund_intent(%s, 'amount', %s::numeric, %s, 'x', 'x')"
        assert self.ask(query, intent, amount, key)["outcome"] == expected
        if expected == "ok":
            one.refunds[key] = amount
            one.refunded += amount
            one.state = "refunded" if one.refunded == one.captured else "captured"

    @rule()
    def reap(self) -> None:
        due = {
            key for key, one in self.model.items() if one.state in ("approved", "reserved") and one.expires <= self.now
        }
        rows = self.connection.execute("SELECT intent FROM reap_intents(1000)").fetchall()
        assert due <= {str(row["intent"]) for row in rows}
        for intent in due:
            self.model[intent].state = "expired"

    # --- what always holds ---------------------------------------------------------------------------------------

    @invariant()
    def agrees(self) -> None:
        """Every state, and what each budget holds and has spent."""
        rows = self.connection.execute("SELECT id, state FROM intents WHERE tenant = %s", (self.tenant,)).fetchall()
        assert {str(row["id"]): row["state"] for row in rows} == {key: one.state for key, one in self.model.items()}
        names = {("tenant", "total"): "total", ("tenant", "day"): "day", ("tenant", "rolling"): "rolling"}
        names |= {("agent", "total"): "agent"}
        budgets = self.connection.execute(
            """
            SELECT scope, period, held, CASE
                WHEN period = 'day' AND budget_begin(period, ledger_now()) > since THEN 0
                WHEN period = 'rolling' THEN posted - (SELECT coalesce(sum(s.amount), 0) FROM budget_spends AS s
                    WHERE s.budget_id = b.id AND s.at <= ledger_now() - make_interval(secs => window_s))
                ELSE posted END AS posted
            FROM budgets AS b WHERE tenant = %s
            """,
            (self.tenant,),
        ).fetchall()
        for row in budgets:
            name = "agent" if row["scope"] == "agent" else row["period"]
            assert (row["held"], row["posted"]) == self.used(name), name
            assert row["held"] + row["posted"] <= CAPS[name]
        assert len(budgets) == len(CAPS)

    @invariant()
    def no_window_is_overspent(self) -> None:
        """What was spent net within any day or window that ends at a capture."""
        for end in {one.captured_at for one in self.model.values() if one.captured}:
            spent = [(one.captured_at, one.spent) for one in self.model.values() if one.captured]
            assert sum(units for at, units in spent if end - WINDOW < at <= end) <= CAPS["rolling"]
            assert sum(units for at, units in spent if at // DAY == end // DAY) <= CAPS["day"]

    def teardown(self) -> None:
        """The books verify, whatever happened to them."""

        async def faults() -> list[str]:
            async with open_pool(self.url, 1) as pool:
                return (await verify_ledger(pool, self.tenant)).faults

        assert asyncio.run(faults()) == []


@pytest.fixture
def timed(shared_database_url: str) -> Generator[psycopg.Connection[Row]]:
    """A connection to a database whose ledger takes its time from a setting of the session."""
    with psycopg.Connection[Row].connect(shared_database_url, autocommit=True, row_factory=dict_row) as connection:
        connection.execute("GRANT CREATE ON SCHEMA public TO chimera_ledger")
        connection.execute("SET ROLE chimera_ledger")
        connection.execute(
            "CREATE OR REPLACE FUNCTION ledger_now() RETURNS timestamptz LANGUAGE sql VOLATILE AS "
            "$$ SELECT to_timestamp(current_setting('test.now')::bigint) $$"
        )
        connection.execute("RESET ROLE")
        yield connection


@pytest.mark.threat(4, 5, 38, 39, 40)
@pytest.mark.timeout(300)
def test_the_ledger_is_its_model(timed: psycopg.Connection[Row], shared_database_url: str) -> None:
    machine = type("Machine", (LedgerMachine,), {"connection": timed, "url": shared_database_url})
    few = settings(settings.default, stateful_step_count=30, suppress_health_check=[HealthCheck.too_slow])
    run_state_machine_as_test(machine, settings=few)
