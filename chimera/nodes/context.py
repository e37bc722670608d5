"""What a node may use: the services of the runtime context, injected by the composition root."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from chimera.commerce.deciding import Payments
from chimera.core.clock import Clock
from chimera.core.contracts import Mission, Task
from chimera.core.ids import NewId
from chimera.core.settings import Settings
from chimera.guards.effects import Effects, ToolSearch
from chimera.guards.extraction.acting import Extraction
from chimera.guards.gateway import SecurityGateway
from chimera.guards.oversight import Oversight
from chimera.guards.permissions.directory import Directory
from chimera.models.calls import Models
from chimera.models.gate import Caller
from chimera.review.calibration.bands import Bands
from chimera.review.queue import ReviewQueue
from chimera.store.audit import AuditEvent, AuditLog
from chimera.store.events import EventBus
from chimera.store.missions import MissionStore
from chimera.store.outcomes import OutcomeStore
from chimera.store.usage import UsageLog
from chimera.tools.artifacts import ArtifactStore

if TYPE_CHECKING:
    from chimera.fleet.dispatch import Dispatch
    from chimera.nodes.judge import Judge
    from chimera.nodes.planner import Planner
    from chimera.nodes.worker import Worker


@dataclass(frozen=True)
class Context:
    """The services of one Chimera installation, as LangGraph hands them to every node."""

    settings: Settings
    clock: Clock
    new_id: NewId
    models: Models
    gateway: SecurityGateway
    tools: ToolSearch
    effects: Effects
    missions: MissionStore
    usage: UsageLog
    audit: AuditLog
    reviews: ReviewQueue
    events: EventBus
    artifacts: ArtifactStore
    planner: "Planner"
    worker: "Worker"
    judge: "Judge"
    dispatch: "Dispatch"
    directory: Directory
    extraction: Extraction
    outcomes: OutcomeStore
    oversight: Oversight
    bands: Bands
    payments: Payments | None = None

    def caller(
        self, mission_id: str, role: str, mission: dict[str, Any], *, agent: str = "", task: Task | None = None
    ) -> Caller:
        """On whose account a role calls its model. ``agent`` is its name on the record, its place in the mission."""
        asked = Mission.model_validate(mission)
        return Caller(mission_id, role, asked.budget, tenant=asked.tenant, agent=agent, mission=asked, task=task)

    async def record(
        self, mission_id: str, mission: "Mission | dict[str, Any]", kind: str, actor: str, **data: Any
    ) -> str:
        """Put an event on the audit log and tell the live listeners; return the event's hash."""
        tenant = mission.tenant if isinstance(mission, Mission) else str(mission.get("tenant", "default"))
        done = await self.audit.append(
            AuditEvent(kind=kind, actor=actor, mission_id=mission_id, tenant=tenant, data=data)
        )
        await self.events.publish(mission_id, kind, **data)
        return done

    async def settled(self) -> None:
        """Return when what was put on the record, counted and told so far is where it belongs, or was given up."""
        await self.audit.settled()
        await self.usage.settled()
        await self.events.flush()
