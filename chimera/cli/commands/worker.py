"""``chimera worker``: a process that carries out the runs of agents until it is told to stop."""

from typing import TYPE_CHECKING, Annotated

import typer

from chimera.cli.options import Json
from chimera.cli.running import run
from chimera.cli.view.output import emit, tell
from chimera.core.errors import InputError

if TYPE_CHECKING:
    from chimera.core.settings import Settings


def worker_command(
    engine: Annotated[
        str | None, typer.Option(metavar="postgres|nats", help="How runs come here. Default: the settings' engine.")
    ] = None,
    concurrency: Annotated[int, typer.Option(min=1, max=100_000, help="Agents at the same time.")] = 100,
    pools: Annotated[str | None, typer.Option(metavar="A,B", help="Only runs of these pools.")] = None,
    name: Annotated[str | None, typer.Option("--id", metavar="ID", help="Its id; by default one of its own.")] = None,
    lease: Annotated[
        float, typer.Option(min=1, max=3600, help="Seconds without a sign after which others take over.")
    ] = 15.0,
    drain: Annotated[float, typer.Option(min=0, max=3600, help="Seconds that steps under way get at the end.")] = 30.0,
    json: Json = False,
) -> None:
    """Carry out runs of agents until SIGTERM or Ctrl-C; then finish the steps under way and give back the rest."""
    from chimera.core.ids import random_ids
    from chimera.core.settings import load_settings
    from chimera.fleet.worker import WorkerPlan

    if engine not in (None, "postgres", "nats"):
        raise InputError(f"there is no engine {engine[:40]!r}", remedy="Use postgres or nats.")
    settings = load_settings(**({"engine": engine} if engine else {}), dispatch="local")
    named = [part.strip() for part in pools.split(",") if part.strip()] if pools else None
    plan = WorkerPlan(
        id=name or f"worker-{random_ids()()[:13]}", concurrency=concurrency, pools=named, ttl_s=lease, drain_s=drain
    )
    turns = run(_work(settings, plan))
    if json:
        emit({"worker": plan.id, "turns": turns, "state": "stopped"})


async def _work(settings: "Settings", plan: "WorkerPlan") -> int:
    import asyncio
    import signal

    from chimera.app import open_app, open_engine
    from chimera.cli.working import session
    from chimera.core.seats import Seats
    from chimera.fleet.collector import calm_collector
    from chimera.fleet.measuring import Measuring
    from chimera.fleet.worker import Worker

    async with open_app(settings) as app, open_engine(settings, app.pool, app.database_url) as engine:
        measuring, seats = Measuring(app.pool, app.context.clock.monotonic), Seats()
        worker = Worker(engine, session(app, plan.concurrency, measuring, engine, seats), plan, measuring, seats)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, worker.drain)
        # Before the first run: to import a provider's client takes seconds, in which no guard could answer in time.
        await asyncio.to_thread(app.context.models.check)
        calm_collector()
        tell(f"{plan.id}: up to {plan.concurrency} agents, engine {engine.name}")
        await worker.run()
        tell(f"{plan.id}: stopped; what was not finished goes to others")
        return worker.turns


if TYPE_CHECKING:
    from chimera.fleet.worker import WorkerPlan
