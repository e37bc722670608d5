"""The processes of the end-to-end part: the node, the signer and the workers; all but the node can be killed."""

import asyncio
import json
import os
import random
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from chimera.bench.commerce.evm import HOST
from chimera.commerce.chain.embedded import LOCAL_CHAIN
from chimera.core.errors import StoreError
from chimera.core.tasks import stop

PASSPHRASE = "a passphrase of the benchmark"  # noqa: S105 - of money without worth, in a folder that is deleted
_START_S, _AGAIN_S, _END_S = 90.0, 0.2, 30.0


class Child:
    """A process of a module of ours that is started again whenever it ends, until it is told to end."""

    def __init__(self, name: str, module: str, errors: Path) -> None:
        self.name = name
        self.module = module
        self.ended_by_itself: list[int] = []
        """The exit codes of those that nobody here had killed."""
        self.killed = 0
        self._errors = errors
        self._process: asyncio.subprocess.Process | None = None
        self._keeping: asyncio.Task[None] | None = None
        self._ready = asyncio.Event()

    def words(self) -> Sequence[str]:
        """The arguments of the next start."""
        return ()

    def secret(self) -> bytes | None:
        """What it reads from its standard input."""
        return None

    async def start(self) -> str:
        """Start it and keep it running; the first line that it says.

        Raises:
            TimeoutError: it says nothing.
        """
        said = await self._begin()
        self._keeping = asyncio.create_task(self._keep())
        return said

    async def kill(self) -> bool:
        """Kill it, if it runs; it is started again."""
        process = self._process
        if process is None or process.returncode is not None or not self._ready.is_set():
            return False
        self.killed += 1
        self._ready.clear()
        process.kill()
        return True

    async def end(self) -> None:
        """End it for good."""
        if self._keeping is not None:
            await stop(self._keeping)
            self._keeping = None
        if self._process is not None and self._process.returncode is None:
            with suppress(ProcessLookupError):
                self._process.terminate()
            try:
                async with asyncio.timeout(_END_S):
                    await self._process.wait()
            except TimeoutError:
                self._process.kill()
                await self._process.wait()

    async def _keep(self) -> None:
        while True:
            assert self._process is not None  # noqa: S101 - it was started
            known = self.killed
            code = await self._process.wait()
            if self.killed == known:
                self.ended_by_itself.append(code)
            self._ready.clear()
            while True:
                await asyncio.sleep(_AGAIN_S)
                with suppress(EOFError):  # it ended at once, as it does where PostgreSQL is away
                    await self._begin()
                    break

    async def _begin(self) -> str:
        given = self.secret()
        with self._errors.open("ab") as errors:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", self.module, *self.words(),
                stdin=asyncio.subprocess.DEVNULL if given is None else asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE, stderr=errors,
            )  # fmt: skip
        if given is not None and self._process.stdin is not None:
            self._process.stdin.write(given)
            self._process.stdin.close()
        assert self._process.stdout is not None  # noqa: S101 - it was asked for
        async with asyncio.timeout(_START_S):
            said = await self._process.stdout.readline()
        if not said:
            await self._process.wait()
            raise EOFError(self.name)
        self._ready.set()
        return said.decode()


class SignerChild(Child):
    """The signer, whose keystore and book stay in its folder."""

    def __init__(self, folder: Path, cfo: str, errors: Path) -> None:
        super().__init__("signer", "chimera.commerce.wallet", errors)
        self._words = (str(folder), "--cfo", cfo, "--chain", str(LOCAL_CHAIN), "--make", "--scrypt", "2")

    def words(self) -> Sequence[str]:
        """The folder, and what it is to trust."""
        return self._words

    def secret(self) -> bytes | None:
        """The passphrase."""
        return PASSPHRASE.encode() + b"\n"


class WorkerChild(Child):
    """A worker. ``dooms``: where the next ones that are started kill themselves, shared by all workers."""

    def __init__(self, plan: Path, index: int, dooms: list[tuple[str, str, int]], errors: Path) -> None:
        super().__init__(f"worker {index}", "chimera.bench.commerce.worker", errors)
        self._plan = plan
        self._index = index
        self._dooms = dooms

    def words(self) -> Sequence[str]:
        """The plan, which worker it is, and where it dies, if it has to."""
        doom = map(str, self._dooms.pop()) if self._dooms else ()
        return (str(self._plan), str(self._index), *doom)


class NodeChild:
    """The node, and how it is told what to do."""

    def __init__(self, seed: int, block_s: float, errors: Path) -> None:
        self._child = Child("node", "chimera.bench.commerce.evm", errors)
        self._words = (str(seed), str(block_s))
        self._child.words = lambda: self._words
        self.urls: tuple[str, ...] = ()

    async def start(self) -> None:
        """Start it."""
        ports = json.loads(await self._child.start())
        self.urls = tuple(f"http://{HOST}:{port}" for port in ports)

    async def order(self, method: str, *params: Any) -> Any:
        """Have it do something."""
        from aiohttp import ClientSession

        asked = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        async with ClientSession() as session, session.post(self.urls[2], json=asked) as response:
            answer = await response.json()
        if "error" in answer:
            raise AssertionError(f"the node does not {method}: {answer['error']['message']}")
        return answer["result"]

    async def end(self) -> None:
        """End it."""
        await self._child.end()


def doom_list(steps: Sequence[str], pick: random.Random) -> list[tuple[str, str, int]]:
    """Each step twice, before and after, in an order by chance."""
    found = [(step, when, pick.randint(1, 12)) for step in steps for when in ("before", "after")]
    pick.shuffle(found)
    return found


def errors_of(folder: Path) -> Path:
    """Where processes write what goes wrong."""
    return folder / f"errors-{os.getpid()}.txt"


GONE = (StoreError, TimeoutError)
"""What a database that is being restarted says."""
