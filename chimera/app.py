"""The composition root: from settings to services to graphs. The only place that knows every room."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from langgraph.graph.state import CompiledStateGraph

from chimera.commerce.configured import configured_payments
from chimera.commerce.deciding import Payments, Spends
from chimera.commerce.rails.paying import CallTool
from chimera.commerce.setup import Installed, PaymentSetup, open_payments
from chimera.core.clock import Clock, SystemClock
from chimera.core.errors import SettingsInvalid
from chimera.core.ids import NewId, random_ids
from chimera.core.plugins import SERVERS, plugins
from chimera.core.settings import Settings, load_settings
from chimera.fleet.dispatch import Dispatch, LocalDispatch
from chimera.fleet.engine import Engine
from chimera.fleet.nats_engine import open_nats_engine
from chimera.fleet.postgres_engine import open_postgres_engine
from chimera.fleet.remote import RemoteDispatch
from chimera.graphs.agent import build_agent
from chimera.graphs.mission import build_mission
from chimera.guards.asking import ModelInput
from chimera.guards.discovering import MayCall, ToolTexts
from chimera.guards.edges import refuse_ports
from chimera.guards.effects import Effects, ToolListing
from chimera.guards.extraction.acting import Extraction
from chimera.guards.extraction.extractor import Extractor
from chimera.guards.gateway import SecurityGateway
from chimera.guards.oversight import Oversight, oversee
from chimera.guards.policy.registry import Parts
from chimera.guards.policy.watch import PolicyWatch
from chimera.guards.provenance.manifest import Manifest, read_manifests
from chimera.models.calls import Models
from chimera.models.limits import ProviderLimits
from chimera.nodes.context import Context
from chimera.nodes.judge import Judge
from chimera.nodes.planner import Planner
from chimera.nodes.prompts import all_prompts
from chimera.nodes.worker import Worker
from chimera.review.calibration.bands import Bands
from chimera.review.calibration.store import CalibrationStore
from chimera.review.queue import ReviewQueue
from chimera.review.rules import WorkRules
from chimera.store.audit import AuditLog
from chimera.store.audit.signing import load_signer
from chimera.store.cache import RedisCache
from chimera.store.checkpoints import GroupCommitSaver, open_saver
from chimera.store.circuits import RedisCircuits
from chimera.store.effects import EffectJournal
from chimera.store.embedded import EmbeddedServers
from chimera.store.events import EventBus
from chimera.store.limits import RedisBuckets
from chimera.store.listings import ListingStore
from chimera.store.migrate import ensure_schema
from chimera.store.missions import MissionStore
from chimera.store.outcomes import OutcomeStore
from chimera.store.postgres import Pool, open_pool
from chimera.store.redis import open_redis
from chimera.store.usage import UsageLog
from chimera.tools.artifacts import ArtifactStore
from chimera.tools.discovery.learnt import Learnt
from chimera.tools.mesh.mesh import ToolMesh
from chimera.tools.mesh.servers import OURSELVES, ServerSpec, configured, first_party
from chimera.tools.registry.gate import PinGate
from chimera.tools.registry.health import RegistryHealth
from chimera.tools.registry.promised import promised
from chimera.tools.registry.registry import Registry
from chimera.tools.registry.screening import PinScreen
from chimera.tools.registry.serving import RegisteredTrials, registered_identities, registered_specs
from chimera.tools.toolbox import Sources, Toolbox

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel
    from redis.asyncio import Redis

    from chimera.tools.discovery.finder import Finder


@dataclass(frozen=True)
class Roles:
    """Replacements for the parts that users subclass; None means the one that asks the configured model."""

    planner: Planner | None = None
    worker: Worker | None = None
    judge: Judge | None = None
    models: "Mapping[str, BaseChatModel] | None" = None


@dataclass(frozen=True)
class App:
    """A running installation: its services, its saver and its graphs. ``calls``: how often callers called servers."""

    settings: Settings
    context: Context
    pool: Pool
    database_url: str = field(repr=False)
    saver: GroupCommitSaver
    mesh: ToolMesh
    toolbox: Toolbox
    calls: RedisBuckets
    mission: "CompiledStateGraph[Any, Any, Any, Any]"
    agent: "CompiledStateGraph[Any, Any, Any, Any]"


@asynccontextmanager
async def open_app(
    settings: Settings | None = None,
    roles: Roles = Roles(),
    *,
    clock: Clock | None = None,
    new_id: NewId | None = None,
    payments: PaymentSetup | None = None,
) -> AsyncGenerator[App]:
    """Open every service, and close them in reverse. ``payments``: instead of those of the settings.

    Without any, every payment is refused.

    Raises:
        ConfigError: the settings cannot work. StoreError: Postgres, Redis or their disk cannot be used.
        UnguardedEdge: a planner, worker or judge that was given reaches tools by itself.
    """
    refuse_ports(*(part for part in (roles.planner, roles.worker, roles.judge) if part is not None))
    settings = settings or load_settings()
    clock, new_id = clock or SystemClock(), new_id or random_ids()
    async with AsyncExitStack() as stack:
        database_url, redis_url = await _endpoints(settings, stack)
        pool = await stack.enter_async_context(open_pool(database_url))
        await ensure_schema(pool, may_upgrade=settings.database_url is None)
        redis = await stack.enter_async_context(open_redis(redis_url))
        saver = await stack.enter_async_context(open_saver(pool))
        agent = build_agent(checkpointer=saver)
        signer = await asyncio.to_thread(load_signer, settings)
        audit, usage = AuditLog(pool, clock, signer), UsageLog(pool)
        reviews = ReviewQueue(pool, WorkRules.of(settings))
        oversight = await asyncio.to_thread(oversee, settings, pool, reviews, audit, clock, new_id)
        if settings.database_url is None:
            await oversight.first.enrol()
        mesh, sources = await _mesh(settings, pool, redis, audit, oversight, clock)
        await stack.enter_async_context(mesh)
        paying: list[Payments] = []  # made below: the CFO asks models, which ask the gateway, which asks the parts
        toolbox = _toolbox(
            mesh, sources, settings, pool, oversight, clock, lambda: paying[0].spending if paying else None
        )
        parts = Parts(
            settings,
            all_prompts(),
            oversight.incidents,
            oversight.permitted,
            payments=lambda: paying[0] if paying else None,
        )
        watch = PolicyWatch(parts, oversight.proposals)
        limits = ProviderLimits(settings.model_limits, clock, RedisBuckets(redis))
        gateway = SecurityGateway(watch, audit, oversight.incidents)
        models = Models(settings, usage, new_id, roles.models, limits, gate=ModelInput(gateway))
        stack.push_async_callback(models.aclose)
        events = EventBus(redis, clock)
        stack.push_async_callback(events.flush)
        missions = MissionStore(pool, database_url)
        if payments is None and settings.payments:
            payments = await asyncio.to_thread(configured_payments, settings)
        if payments is not None:
            installed = Installed(pool, audit, models, missions, clock, new_id, settings, _caller(toolbox))
            paying.append(await stack.enter_async_context(open_payments(payments, installed)))
        context = Context(
            settings=settings,
            clock=clock,
            new_id=new_id,
            models=models,
            gateway=gateway,
            tools=ToolListing(toolbox, toolbox),
            effects=Effects(toolbox, EffectJournal(pool)),
            outcomes=OutcomeStore(pool),
            missions=missions,
            usage=usage,
            audit=audit,
            reviews=reviews,
            events=events,
            artifacts=ArtifactStore(settings.home / "artifacts"),
            planner=roles.planner or Planner(),
            worker=roles.worker or Worker(),
            judge=roles.judge or Judge(),
            dispatch=await stack.enter_async_context(_open_dispatch(settings, pool, database_url, agent)),
            directory=oversight.directory,
            extraction=Extraction(Extractor(models, audit, new_id), settings.extraction, lambda: _declared(watch)),
            oversight=oversight,
            bands=Bands(CalibrationStore(pool), settings, clock, oversight.bands),
            payments=paying[0] if paying else None,
        )
        yield App(
            settings=settings,
            context=context,
            pool=pool,
            database_url=database_url,
            saver=saver,
            mesh=mesh,
            toolbox=toolbox,
            calls=RedisBuckets(redis, prefix="chimera:calls"),
            mission=build_mission(checkpointer=saver),
            agent=agent,
        )


def _caller(toolbox: Toolbox) -> CallTool:
    """How payment services behind tool servers are called: by a payment that passed its guards, and by nothing else."""

    async def call(tool: str, arguments: dict[str, Any], idempotency_key: str) -> dict[str, Any] | None:
        found = await toolbox.call(tool, arguments, scope=idempotency_key, idempotency_key=idempotency_key)
        return found.data

    return call


def _declared(watch: PolicyWatch) -> Mapping[str, Manifest]:
    """The manifests of tools of the policy in force."""
    return read_manifests(watch.policy.text) if watch.policy else {}


@asynccontextmanager
async def open_engine(settings: Settings, pool: Pool, database_url: str) -> AsyncGenerator[Engine]:
    """The engine that the settings name.

    Raises:
        ExtraMissing: the client of NATS is not installed. SettingsInvalid: it has no URL. StoreUnavailable: it is away.
    """
    if settings.engine == "postgres":
        async with open_postgres_engine(pool, database_url) as engine:
            yield engine
        return
    if settings.nats_url is None:
        raise SettingsInvalid("the engine nats needs nats_url", remedy="Set CHIMERA_NATS_URL=nats://HOST:4222.")
    async with open_nats_engine(pool, database_url, settings.nats_url.get_secret_value()) as engine:
        yield engine


@asynccontextmanager
async def _open_dispatch(
    settings: Settings, pool: Pool, database_url: str, agent: "CompiledStateGraph[Any, Any, Any, Any]"
) -> AsyncGenerator[Dispatch]:
    if settings.dispatch == "local":
        yield LocalDispatch(agent, settings.max_parallel)
        return
    async with open_engine(settings, pool, database_url) as engine:
        yield RemoteDispatch(engine, pool, hedge_after_s=settings.hedge_after_s)


def tool_servers(settings: Settings) -> list[ServerSpec]:
    """Our own, those of installed plug-ins, and those of the settings; reads files."""
    plugged_in = [spec for found in plugins(SERVERS) for spec in found.make_all(settings, ServerSpec)]
    return [*first_party(settings), *plugged_in, *configured(settings)]


async def _mesh(
    settings: Settings, pool: Pool, redis: "Redis", audit: AuditLog, oversight: Oversight, clock: Clock
) -> tuple[ToolMesh, Sources]:
    """The mesh of the servers that are configured and registered, with what all processes know together.

    With it comes what the registry says of its servers; it is read when somebody asks for more than a few.
    """
    servers = await asyncio.to_thread(tool_servers, settings)
    registry = Registry(pool, audit, clock)
    registered = await registry.all()
    taken = {OURSELVES, *(spec.name for spec in servers)}
    registered = [found for found in registered if found.enabled and found.name not in taken]
    specs, _ = registered_specs(registered)  # why one is left out is told by `chimera tools doctor`
    changes = oversight.tool_changes
    mesh = ToolMesh(
        [*servers, *(spec for spec in specs if spec.name not in taken)],
        settings,
        clock,
        circuits=RedisCircuits(redis),
        buckets=RedisBuckets(redis, prefix="chimera:quota"),
        cache=RedisCache(redis, prefix="chimera:result"),
        screen=PinScreen(PinGate(pool, changes.pins, audit, clock, changes), registered_identities(registered)),
        trials=RegisteredTrials(registered),
        health=RegistryHealth(registered, registry.store, clock),
    )
    return mesh, lambda: promised(mesh.specs, registered, registry.store)


def _toolbox(
    mesh: ToolMesh,
    sources: Sources,
    settings: Settings,
    pool: Pool,
    oversight: Oversight,
    clock: Clock,
    purse: Callable[[], Spends | None],
) -> Toolbox:
    """What lists, finds and calls tools. The search is made when there is something to find."""

    def finder() -> "Finder":
        from chimera.tools.discovery.dense import Dense
        from chimera.tools.discovery.finder import Finder

        dense = Dense(pool, clock, settings.search_model) if settings.search_model else None
        return Finder(OutcomeStore(pool), clock, dense)

    learnt = Learnt(ListingStore(pool), clock, ToolTexts())
    return Toolbox(
        mesh, sources, learnt, finder, MayCall(oversight.permitted, oversight.directory), settings.tool_timeout_s, purse
    )


async def _endpoints(settings: Settings, stack: AsyncExitStack) -> tuple[str, str]:
    database = settings.database_url.get_secret_value() if settings.database_url else None
    redis = settings.redis_url.get_secret_value() if settings.redis_url else None
    if database and redis:
        return database, redis
    servers = EmbeddedServers(settings.home, idle_s=settings.embedded_idle_s)
    embedded = await servers.acquire()
    stack.push_async_callback(servers.release)
    return database or embedded.database_url, redis or embedded.redis_url
