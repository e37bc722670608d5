"""Whether this process has run all the time, as one that was stopped, or held up by what it carries, has not."""

import asyncio

_LOOKS = 5
"""How often it looks within the gap that it is to notice."""


class Awake:
    """Notices when the event loop stands still for longer than ``gap_s`` seconds."""

    def __init__(self, gap_s: float) -> None:
        self._gap_s = gap_s
        self.always = True
        """Whether it has never stood still while it was watched."""

    async def watch(self) -> None:
        """Look until it has, or until cancelled."""
        loop = asyncio.get_running_loop()
        while self.always:
            seen = loop.time()
            try:
                await asyncio.sleep(self._gap_s / _LOOKS)
            finally:  # also when what ends the watch came first after the standstill
                self.always = loop.time() - seen <= self._gap_s
