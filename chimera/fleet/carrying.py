"""What a worker does with the run of an agent: the agent's graph, in the context of its pool."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from langgraph.runtime import RunControl

from chimera.core.contracts import Task
from chimera.core.errors import GuardRejected
from chimera.core.timing import Latencies, watched
from chimera.fleet.dispatch import AgentRun, LocalDispatch
from chimera.fleet.worker import Body
from chimera.store.pools import AgentPool
from chimera.store.runs import Claim

PoolNamed = Callable[[str], Awaitable[AgentPool]]
ContextOf = Callable[[AgentPool], Any]


def agent_body(
    dispatch: LocalDispatch, pool_named: PoolNamed, context_of: ContextOf, latencies: Latencies | None = None
) -> Body:
    """Carries out agents' runs by ``dispatch``, each in its pool's context, and measured where that is wanted."""

    async def body(claim: Claim, control: RunControl) -> Mapping[str, Any]:
        payload = claim.payload
        pool = await pool_named(claim.pool)
        tools = Task.model_validate(payload["state"]["task"]).tools
        if not pool.allows(tools):
            raise GuardRejected(f"the pool {pool.name} may not use all of {', '.join(tools)[:200]}")
        run = AgentRun(claim.thread_id, payload["state"], payload["recursion_limit"])
        with watched(latencies, claim.pool):
            outcome = await dispatch.run(run, context_of(pool), payload["answers"], control=control)
        return {"result": outcome.result, "questions": dict(outcome.questions)}

    return body
