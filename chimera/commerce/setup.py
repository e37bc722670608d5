"""Putting together what decides about payments, out of an operator's choices and an installation's services."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from chimera.commerce.approvals import ApprovalStore, Signed
from chimera.commerce.assets import AssetStore
from chimera.commerce.budgets import BudgetStore
from chimera.commerce.cfo import ROLE, CfoAgent
from chimera.commerce.cfo_key import CfoDesk, CfoSigner, SocketCfoSigner
from chimera.commerce.compliance import Compliance, Lists
from chimera.commerce.deciding import Deciding, Delivery, Payer, Payments, Refunds, Spends
from chimera.commerce.findings import FindingStore
from chimera.commerce.ledger import Ledger
from chimera.commerce.payees import Payees
from chimera.commerce.payment_policy import PaymentPolicy
from chimera.commerce.rails.paying import CallTool
from chimera.commerce.risk import RiskDesk
from chimera.commerce.scoring import Scorer, shipped_scorer
from chimera.commerce.screening import Screening
from chimera.core.clock import Clock
from chimera.core.errors import CfoUnavailable, ConfigError
from chimera.core.ids import NewId
from chimera.core.settings import Settings
from chimera.models.calls import Models
from chimera.models.gate import Caller
from chimera.store.audit import AuditLog
from chimera.store.missions import MissionStore
from chimera.store.postgres import Pool

if TYPE_CHECKING:
    from eth_account.signers.local import LocalAccount

    from chimera.commerce.x402.selling import PaidEndpoint


@dataclass(frozen=True)
class PaymentSetup:
    """An operator's choices. ``lists``: addresses that must not be paid, read before (:func:`load_lists`).

    ``cfo_socket`` and ``cfo_address``: where the process with the CFO's key listens, and whose signature counts; or
    ``cfo_key``, the key itself in this process, for trying things out. ``rails``: opens what pays; without it, payments
    are decided about, and none is made. ``signer_socket``: where what signs listens, if ``rails`` use one. ``scorer``:
    another one than is shipped.
    """

    policy: PaymentPolicy
    lists: Lists | None = None
    cfo_socket: Path | None = None
    cfo_address: str = ""
    signer_socket: Path | None = None
    cfo_key: "LocalAccount | None" = None
    rails: "Callable[[Installed, Deciding], AbstractAsyncContextManager[Opened]] | None" = None
    delivery: Delivery | None = None
    refunds: Refunds | None = None
    scorer: Scorer | None = None


@dataclass(frozen=True)
class Installed:
    """The services of an installation that payments need. ``call_tool``: for payment services behind tool servers."""

    pool: Pool
    audit: AuditLog
    models: Models
    missions: MissionStore
    clock: Clock
    new_id: NewId
    settings: Settings
    call_tool: CallTool | None = None


@dataclass(frozen=True)
class Opened:
    """What pays, while it is open. ``spending``: what agents' own calls to spend stand for; None: they cannot.

    ``sells``: what the server offers for money.
    """

    payer: Payer
    spending: Spends | None = None
    sells: "Sequence[PaidEndpoint]" = ()


@asynccontextmanager
async def open_payments(setup: PaymentSetup, services: Installed) -> AsyncGenerator[Payments]:
    """What decides about payments and, where there is a way, makes them. Raises what :func:`assemble` does."""
    made = await asyncio.to_thread(assemble, setup, services)
    if setup.rails is None:
        yield made
        return
    async with setup.rails(services, made.deciding) as opened:
        yield replace(made, payer=opened.payer, spending=opened.spending, sells=opened.sells)


def assemble(setup: PaymentSetup, services: Installed) -> Payments:
    """What decides about payments.

    Raises:
        ConfigError: the choices do not fit together: a key in this process in production, or a socket without its
        address.
    """
    policy, pool, audit = setup.policy, services.pool, services.audit
    if setup.cfo_key is not None and policy.production:
        raise ConfigError(
            "in production the CFO's key is in a process of its own",
            remedy="Start `python -m chimera.commerce.cfo_process`, and name its socket and address.",
        )
    if (setup.cfo_socket is None) == bool(setup.cfo_address) or (setup.cfo_socket and setup.cfo_key):
        raise ConfigError("the CFO's key is either here, or behind a socket whose address is known")
    assets = AssetStore(pool, audit)
    ledger = Ledger(pool, assets, audit, services.new_id)
    findings, approvals, payees = FindingStore(pool), ApprovalStore(pool), Payees(pool)
    budgets = BudgetStore(pool, assets, audit)
    signer, address = _signer(setup, ledger, findings, approvals, audit)
    compliance = Compliance(setup.lists, most_days=policy.list_days, production=policy.production)
    deciding = Deciding(
        policy=policy,
        ledger=ledger,
        payees=payees,
        findings=findings,
        approvals=approvals,
        screening=Screening(policy, payees, assets, compliance),
        risk=RiskDesk(pool, policy, setup.scorer or shipped_scorer()),
        cfo=CfoAgent(
            pool,
            ledger,
            budgets.listed,
            findings,
            policy,
            audit,
            services.models,
            _Callers(services.missions),
            services.new_id,
        ),
        signer=signer,
        cfo_address=address,
        audit=audit,
        clock=services.clock,
    )
    return Payments(deciding, delivery=setup.delivery, refunds=setup.refunds)


def _signer(
    setup: PaymentSetup, ledger: Ledger, findings: FindingStore, approvals: ApprovalStore, audit: AuditLog
) -> tuple[CfoSigner, str]:
    if setup.cfo_socket is not None:
        return SocketCfoSigner(setup.cfo_socket), setup.cfo_address
    if setup.cfo_key is None:
        return _Nobody(), ""
    desk = CfoDesk(setup.cfo_key, ledger, findings, approvals, setup.policy, audit)
    return desk, desk.address


class _Nobody:
    """Stands where there is no key: nothing is signed."""

    async def sign(self, intent_id: str) -> Signed:
        """Refuse."""
        raise CfoUnavailable("there is no key of the CFO", intent=intent_id)


class _Callers:
    """Whose budget pays for the CFO's questions: that of the mission which wants to pay."""

    def __init__(self, missions: MissionStore) -> None:
        self._missions = missions

    async def caller(self, mission_id: str, tenant: str) -> Caller:
        """The CFO, on the account of a mission.

        Raises:
            MissionNotFound: there is none, so nobody pays for the question.
        """
        mission = await self._missions.context(mission_id)
        return Caller(mission_id, ROLE, mission.budget, tenant=tenant, agent=f"{ROLE}:{mission_id}", mission=mission)
