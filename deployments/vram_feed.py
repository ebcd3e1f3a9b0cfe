"""Keeps the latest snapshot of VRAM decisions in this process, so that routing a request asks nobody."""

import asyncio
import logging
import time

from ray.exceptions import RayError

from deployments.vram_actor import vram_actor
from trivet.config import AppConfig
from trivet.vram.types import Snapshot

logger = logging.getLogger("ray.serve")

_RETRY_S = 0.2


class VramFeed:
    """Long-polls the actor; `latest` is None until the first answer and grows old when the actor is gone."""

    def __init__(self, actor_name: str, config: AppConfig, run_id: str) -> None:
        self._actor_args = (actor_name, config, run_id)
        self._task: asyncio.Task[None] | None = None
        self.latest: Snapshot | None = None

    def start(self) -> None:
        """Begin to follow, on the running event loop."""
        self._task = asyncio.get_running_loop().create_task(self._follow(), name="vram-feed")

    def stop(self) -> None:
        """Stop following."""
        if self._task is not None:
            self._task.cancel()

    async def _follow(self) -> None:
        seen: tuple[int, float] | None = None
        lost = False
        while True:
            try:
                actor = await asyncio.to_thread(vram_actor, *self._actor_args)
                while True:
                    snapshot = await actor.next_snapshot.remote(seen)
                    seen = (snapshot.version, snapshot.at_s)
                    self.latest = snapshot.received(time.monotonic())
                    if lost:
                        logger.info("the VRAM actor answers again")
                        lost = False
            except RayError as error:
                if not lost:
                    logger.warning("the VRAM actor does not answer (%s); the last decision holds for now", error)
                    lost = True
                await asyncio.sleep(_RETRY_S)
