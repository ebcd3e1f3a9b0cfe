"""Calls functions periodically that report what no event reports."""

import asyncio
import logging
from collections.abc import Callable

logger = logging.getLogger("ray.serve")

SAMPLE_EVERY_S = 2.0
"""Shorter than the interval of Ray's reports, which send the last sample."""


class Sampler:
    """Calls functions every `every_s` on the running event loop, which they must not block."""

    def __init__(self, *samples: Callable[[], None], every_s: float = SAMPLE_EVERY_S) -> None:
        self._samples = samples
        self._every_s = every_s
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start sampling."""
        self._task = asyncio.get_running_loop().create_task(self._run(), name="sampler")

    def stop(self) -> None:
        """Stop sampling."""
        if self._task is not None:
            self._task.cancel()

    async def _run(self) -> None:
        while True:
            for sample in self._samples:
                try:
                    sample()
                except Exception:
                    logger.exception("a periodic report failed; the next one is tried all the same")
            await asyncio.sleep(self._every_s)
