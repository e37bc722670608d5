"""The simulated model behind HTTP: run as ``python -m chimera.bench.fleet.provider MEDIAN_S SEED``."""

import asyncio
import sys
from collections.abc import Mapping
from typing import Any

from chimera.bench.fleet.model import TOKENS, Latencies, as_openai, call_of, run_of
from chimera.bench.provider import Reply, serve


def reply_after(latencies: Latencies) -> Reply:
    """What the model says, and when."""

    def reply(asked: Mapping[str, Any]) -> tuple[float, Mapping[str, Any]]:
        offered = [tool["function"]["name"] for tool in asked.get("tools", [])]
        messages = asked["messages"]
        call = call_of(offered, any(message["role"] == "tool" for message in messages))
        run = run_of(str(messages[1]["content"]))
        return latencies.of(run, call), as_openai(call, run, offered)

    return reply


if __name__ == "__main__":
    usage = {"prompt_tokens": TOKENS[0], "completion_tokens": TOKENS[1], "total_tokens": sum(TOKENS)}
    asyncio.run(serve(reply_after(Latencies(float(sys.argv[1]), int(sys.argv[2]))), usage))
