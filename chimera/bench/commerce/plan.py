"""What is paid in the end-to-end part: agents, payments and budgets, the same for every process and known beforehand.

All payments of a tenant are of one amount, and each budget counts either all of them or those of a team. So whatever
the order in which they come, as many are made as fit: the sum is known before anything is paid.
"""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from chimera.commerce.assets import Asset, on_chain
from chimera.commerce.budget_use import Period, Scope
from chimera.commerce.chain.embedded import COIN, LOCAL_CHAIN, TOKEN_DECIMALS
from chimera.commerce.intents import Proposal, digest_of
from chimera.commerce.paying import Patience
from chimera.commerce.payment_policy import Level, PaymentPolicy, Steps

FEE_CAP = 10**16
CATEGORY, POOL = "data", "fleet"
TTL_S = 7_200
TEAMS, PAYEES = 4, 5
COVERED, COVERED_OF_TEAM = 0.6, 0.7
"""Of all payments of a tenant, and of those of a team, the part that the budgets cover."""
Room = tuple[Scope, str, Period, int, int]
"""A budget: scope, subject, period, window, and how many payments it has room for."""
DEPTH = 4
DEEPEST = DEPTH - 1
"""Reorganisations are less deep than what counts as final."""


@dataclass(frozen=True)
class Plan:
    """The payments, and where everything is. ``endpoints``: two that are compared, then one that tells no lies."""

    seed: int
    tenants: int
    agents: int
    payments: int
    workers: int
    database_url: str = ""
    endpoints: tuple[str, ...] = ()
    token: str = ""
    signer: str = ""
    cfo_key: str = ""

    @property
    def asset(self) -> Asset:
        """What is paid with."""
        return on_chain("LUSD", LOCAL_CHAIN, TOKEN_DECIMALS, self.token)

    @property
    def policy(self) -> PaymentPolicy:
        """Rules under which nobody has to be asked about these payments."""
        steps = Steps(auto=10**15, one=10**15, two=10**15, fee_cap=FEE_CAP)
        return PaymentPolicy(
            assets={self.asset.id: steps},
            fee_assets={COIN.id: FEE_CAP},
            new_payee=Level.AUTO,
            most_payments=10**6,
            price_factor=10**6,
            production=False,
        )

    @property
    def each(self) -> int:
        """Payments of an agent."""
        return self.payments // self.agents

    def tenant(self, agent: int) -> str:
        """The tenant of an agent."""
        return f"tenant-{agent % self.tenants}"

    def team(self, agent: int) -> str:
        """The team of an agent."""
        return f"team-{agent // self.tenants % TEAMS}"

    def amount(self, tenant: int) -> int:
        """Units of each payment of a tenant."""
        return 1_000 + 37 * tenant

    def payees(self, tenant: int) -> list[str]:
        """Addresses that a tenant pays."""
        from eth_utils.address import to_checksum_address

        return [
            str(to_checksum_address(digest_of("payee", str(self.seed), str(tenant), str(place))[:20]))
            for place in range(PAYEES)
        ]

    def proposals(self, agent: int) -> Iterator[Proposal]:
        """What an agent wants to pay."""
        number = agent % self.tenants
        payees = self.payees(number)
        for place in range(self.each):
            yield self.proposal(
                tenant=self.tenant(agent),
                key=f"{agent}-{place}",
                payee=payees[(agent + place) % PAYEES],
                amount=self.amount(number),
                agent=f"agent-{agent}",
                team=self.team(agent),
            )

    def proposal(self, *, tenant: str, key: str, payee: str, amount: int, agent: str, team: str) -> Proposal:
        """A payment with this plan's token, policy and fees."""
        return Proposal(
            tenant=tenant,
            key=key,
            payee=payee,
            asset=self.asset.id,
            chain_id=LOCAL_CHAIN,
            amount=amount,
            fee_asset=COIN.id,
            fee_cap=FEE_CAP,
            purpose="data for the benchmark",
            category=CATEGORY,
            agent=agent,
            policy_version=self.policy.version,
            ttl_s=TTL_S,
            pool=POOL,
            team=team,
        )

    def covered(self, tenant: int) -> list[Room]:
        """The budgets of a tenant."""
        ours = range(tenant, self.agents, self.tenants)
        most = int(len(ours) * self.each * COVERED)
        teams = [
            int(sum(self.team(agent) == f"team-{team}" for agent in ours) * self.each * COVERED_OF_TEAM)
            for team in range(TEAMS)
        ]
        found: list[Room] = [
            ("tenant", "", "total", 0, most),
            ("tenant", "", "rolling", 86_400, most),
            ("category", CATEGORY, "total", 0, most),
            ("pool", POOL, "total", 0, most),
            *(("team", f"team-{team}", "total", 0, room) for team, room in enumerate(teams)),
        ]
        return found

    def made(self, tenant: int) -> int:
        """How many payments of a tenant its budgets let pass."""
        rooms = [(scope, room) for scope, _, _, _, room in self.covered(tenant)]
        of_teams = sum(room for scope, room in rooms if scope == "team")
        return min(of_teams, *(room for scope, room in rooms if scope != "team"))

    @property
    def expected_units(self) -> int:
        """What is spent in the end."""
        return sum(self.made(tenant) * self.amount(tenant) for tenant in range(self.tenants))

    def write(self, file: Path) -> None:
        """Keep it for other processes."""
        file.write_text(json.dumps(asdict(self)), "utf-8")


def read_plan(file: Path) -> Plan:
    """The plan that was kept."""
    known: dict[str, Any] = json.loads(file.read_text("utf-8"))
    known["endpoints"] = tuple(known["endpoints"])
    return Plan(**known)


def patience() -> Patience:
    """How a worker waits for a chain whose blocks come quickly."""
    return Patience(depth=DEPTH, poll_s=0.2, resend_s=4.0, stuck_s=20.0, pay_s=60.0, look_s=10.0, at_once=32)
