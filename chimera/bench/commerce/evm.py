"""The node of the benchmark as a process: ``python -m chimera.bench.commerce.evm SEED BLOCK_S``.

It serves JSON-RPC on three ports of loopback: two endpoints, which fail in the ways and as often as they are told, and
a third that says the truth and is told what to do. The first line on standard output names the ports.
"""

import asyncio
import json
import random
import socket
import sys
from collections.abc import Callable
from typing import Any

from aiohttp import web

from chimera.bench.commerce.node import TIP, Node, Refused
from chimera.bench.commerce.parent import end_with_parent
from chimera.commerce.chain.embedded import LOCAL_CHAIN

HOST = "127.0.0.1"
KINDS = ("refuse", "lose", "hang", "lie")
"""Not carried out; carried out, and the answer lost; answered too late; answered wrong by one of the two."""
HANG_S = 30.0
_SEND = "eth_sendRawTransaction"
_TRUE = (_SEND, "eth_chainId")
_UNKNOWN, _FAILED = -32_601, -32_000


class Endpoints:
    """Answers for a node. ``faults``: of each kind, how many of 10,000 requests."""

    def __init__(self, node: Node, seed: int, block_s: float) -> None:
        self.node = node
        self.block_s = block_s
        self._pick = random.Random(seed)
        self.faults: dict[str, int] = dict.fromkeys(KINDS, 0)
        self.done: dict[str, int] = dict.fromkeys(KINDS, 0)
        self.mined = 0

    async def attend(self, request: web.Request, endpoint: int) -> web.StreamResponse:
        """Answer a request at an endpoint; 2 is the one without faults."""
        asked = json.loads(await request.read())
        fault = self._fault() if endpoint < 2 else None
        if fault == "lie" and (endpoint == 0 or asked["method"] in _TRUE):
            fault = None  # one of two tells lies, but neither of what was sent nor which chain it is
        if fault is not None:
            self.done[fault] += 1
        answer: dict[str, Any] = {} if fault == "refuse" else self._answer(asked, endpoint)
        if fault == "hang":
            await asyncio.sleep(HANG_S)
        if fault in ("refuse", "lose", "hang"):
            if request.transport is not None:
                request.transport.abort()
            return web.Response(status=500)
        if fault == "lie" and "result" in answer:
            answer["result"] = wrong(answer["result"])
        return web.json_response({"jsonrpc": "2.0", "id": asked.get("id"), **answer})

    async def mine(self) -> None:
        """Add a block every so often, for good."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + self.block_s
            self.mined += self.node.mine()
            await asyncio.sleep(max(due - loop.time(), 0.01))

    def _fault(self) -> str | None:
        drawn = self._pick.randrange(10_000)
        for kind, often in self.faults.items():
            if drawn < often:
                return kind
            drawn -= often
        return None

    def _answer(self, asked: dict[str, Any], endpoint: int) -> dict[str, Any]:
        method, params = str(asked["method"]), list(asked.get("params") or [])
        known = _METHODS.get(method) or (_ORDERS.get(method) if endpoint == 2 else None)
        if known is None:
            return {"error": {"code": _UNKNOWN, "message": f"there is no {method[:60]}"}}
        try:
            return {"result": known(self, params)}
        except Refused as refused:
            return {"error": {"code": _FAILED, "message": str(refused)}}
        except Exception as error:  # noqa: BLE001 - a node answers whatever it is asked
            return {"error": {"code": _FAILED, "message": f"{type(error).__name__}: {str(error)[:100]}"}}


def wrong(result: Any) -> Any:
    """Another answer than the right one, of the same form."""
    match result:
        case {"status": status}:
            return {**result, "status": "0x0" if status == "0x1" else "0x1"}
        case {"number": _}:
            return {**result, "baseFeePerGas": hex(int(result["baseFeePerGas"], 16) + 1)}
        case [*logs]:
            return logs[:-1]
        case str() if len(result) > 60:
            return f"0x{int(result, 16) + 1:064x}"
        case str():
            return hex(int(result, 16) + 1)
        case _:
            return result


Answer = Callable[[Endpoints, list[Any]], Any]


def _block(node: Node, tag: str) -> int:
    if tag in ("latest", "pending"):
        return node.head
    number = int(tag, 16)
    if number > node.head:
        raise Refused(f"header not found: block {number}")
    return number


def _logs(to: Endpoints, params: list[Any]) -> Any:
    query: dict[str, Any] = params[0]
    since, upto = (int(query[name], 16) for name in ("fromBlock", "toBlock"))
    named = query["address"]
    return to.node.logs(since, upto, [named] if isinstance(named, str) else named, query.get("topics", []))


def _set_faults(to: Endpoints, params: list[Any]) -> Any:
    to.faults = {kind: int(params[0].get(kind, 0)) for kind in KINDS}
    return to.done


def _fund(to: Endpoints, params: list[Any]) -> Any:
    return to.node.fund(params[0], int(params[1]), str(params[2]), int(params[3]))


def _call(to: Endpoints, params: list[Any]) -> Any:
    return to.node.call(params[0]["to"], params[0]["data"], _block(to.node, params[1]))


_METHODS: dict[str, Answer] = {
    "eth_chainId": lambda to, _: hex(LOCAL_CHAIN),
    "eth_blockNumber": lambda to, _: hex(to.node.head),
    "eth_getBlockByNumber": lambda to, params: to.node.block(_block(to.node, params[0])),
    "eth_maxPriorityFeePerGas": lambda to, _: hex(TIP),
    "eth_getTransactionCount": lambda to, params: hex(to.node.nonce(params[0], _block(to.node, params[1]))),
    "eth_getBalance": lambda to, params: hex(to.node.balance(params[0], _block(to.node, params[1]))),
    "eth_call": _call,
    _SEND: lambda to, params: to.node.send(bytes.fromhex(params[0][2:])),
    "eth_getTransactionReceipt": lambda to, params: to.node.receipt(params[0].lower()),
    "eth_getLogs": _logs,
}
_ORDERS: dict[str, Answer] = {
    "bench_token": lambda to, _: to.node.token(),
    "bench_fund": _fund,
    "bench_faults": _set_faults,
    "bench_reorg": lambda to, params: to.node.reorg(int(params[0])),
    "bench_mined": lambda to, _: [to.mined, to.node.head, to.node.waiting],
}


async def serve(seed: int, block_s: float) -> None:
    """Serve until the process is killed."""
    endpoints = Endpoints(Node(), seed, block_s)
    ports: list[int] = []
    for place in range(3):
        site = web.Application(client_max_size=2**24)

        async def attend(request: web.Request, place: int = place) -> web.StreamResponse:
            return await endpoints.attend(request, place)

        site.router.add_post("/", attend)
        runner = web.AppRunner(site, access_log=None)
        await runner.setup()
        listening = socket.create_server((HOST, 0))
        ports.append(int(listening.getsockname()[1]))
        await web.SockSite(runner, listening).start()
    sys.stdout.write(json.dumps(ports) + "\n")
    sys.stdout.flush()
    async with asyncio.TaskGroup() as group:
        group.create_task(end_with_parent())
        group.create_task(endpoints.mine())


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), float(sys.argv[2])))
