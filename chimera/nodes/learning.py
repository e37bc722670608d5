"""What verdicts teach: which tools worked for which words. Only our own judgement counts, never what a server says."""

from chimera.core.contracts import FIND_TOOLS, Task, TaskResult, Verdict
from chimera.nodes.context import Context
from chimera.tools.discovery.words import stems

STEMS_MAX = 40
"""Stems of a task that are counted; the first ones say what it is about."""


async def learn(task: Task, result: TaskResult, verdict: Verdict, tenant: str, context: Context) -> None:
    """Count what a judged task says of its tools: what gave an approved result worked, what gave nothing did not."""
    used = {observed.capability for observed in result.observations} - {FIND_TOOLS}
    if verdict.outcome == "approve":
        outcomes = dict.fromkeys(sorted(used), True)
    elif result.status == "failed":
        outcomes = dict.fromkeys(sorted(set(task.tools) - used), False)
    else:
        return
    said = list(dict.fromkeys(stems(task.instruction)))[:STEMS_MAX]
    for tool, worked in outcomes.items() if said else ():
        await context.outcomes.count(tenant, tool, said, worked, context.clock.now())
