"""A shop on loopback that sells over HTTP 402, so that there is something to buy where nothing is configured."""

import asyncio
import json
import socket
from collections.abc import AsyncGenerator, Generator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from chimera.commerce.x402.selling import Paid, Price, Till
from chimera.core.errors import StoreUnavailable
from chimera.core.tasks import stop

START_S, STOP_S = 10.0, 5.0
Goods = Mapping[str, Any]
"""What is sold, by path: a JSON document each."""


@asynccontextmanager
async def open_shop(goods: Goods, price: Price, till: Till) -> AsyncGenerator[str]:
    """A shop that asks the same price for each of its goods; its origin."""
    import uvicorn

    class Web(uvicorn.Server):
        """Leaves the signals of the process to whoever it belongs to."""

        @contextmanager
        def capture_signals(self) -> Generator[None]:
            yield

    listening = socket.create_server(("127.0.0.1", 0))
    app = Paid(shelf(goods), price, till)
    config = uvicorn.Config(app, interface="asgi3", lifespan="off", log_config=None, access_log=False)
    server = Web(config)
    serving = asyncio.create_task(server.serve([listening]))
    try:
        async with asyncio.timeout(START_S):
            while not server.started:
                if serving.done():
                    raise StoreUnavailable("the local shop cannot be opened")
                await asyncio.sleep(0.02)
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.should_exit = server.force_exit = True
        await asyncio.wait({serving}, timeout=STOP_S)  # it closes its socket by itself, and only then
        await stop(serving)
        listening.close()


def shelf(goods: Goods) -> Any:
    """The application behind the price: it gives what lies at a path."""
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import JSONResponse, Response
    from starlette.routing import Route

    async def give(request: Request) -> Response:
        found = goods.get(request.url.path)
        return Response(status_code=404) if found is None else JSONResponse(json.loads(json.dumps(found)))

    return Starlette(routes=[Route("/{path:path}", give)])
