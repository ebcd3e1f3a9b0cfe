"""Keeps the latest snapshots of the VRAM decisions in this process, so that routing a request needs no remote call."""

import asyncio
import logging
import time
from collections.abc import Mapping

from ray.exceptions import RayError

from deployments.nodes import gpu_nodes
from deployments.vram.actor import vram_actor
from deployments.vram.probes import UNNAMED_GPU
from trivet.config import AppConfig
from trivet.gpu import GpuId
from trivet.vram.types import Snapshot

logger = logging.getLogger("ray.serve")

_RETRY_S = 0.2
_NODES_INTERVAL_S = 2.0


class VramFeed:
    """Long-polls one node's actor. `latest`, by the GPU's UUID, is empty until the first answer.

    A snapshot becomes stale if the actor is lost, or no longer reads its GPU.
    """

    def __init__(self, node: str, app_name: str, config: AppConfig, run_id: str) -> None:
        self._actor_args = (node, app_name, config, run_id)
        self._task: asyncio.Task[None] | None = None
        self.latest: Mapping[str, Snapshot] = {}

    def start(self) -> None:
        """Start polling, on the running event loop."""
        self._task = asyncio.get_running_loop().create_task(self._follow(), name="vram-feed")

    def stop(self) -> None:
        """Stop polling."""
        if self._task is not None:
            self._task.cancel()

    async def _follow(self) -> None:
        seen: dict[str, tuple[int, float]] = {}
        lost = False
        while True:
            try:
                actor = await asyncio.to_thread(vram_actor, *self._actor_args)
                while True:
                    sent = await actor.next_snapshots.remote(seen)
                    now_s = time.monotonic()
                    self.latest = {gpu: self._stamped(gpu, snapshot, seen, now_s) for gpu, snapshot in sent.items()}
                    seen = {gpu: (snapshot.version, snapshot.at_s) for gpu, snapshot in sent.items()}
                    if lost:
                        logger.info("the VRAM actor answers again")
                        lost = False
            except RayError as error:
                if not lost:
                    logger.warning("the VRAM actor does not answer (%s); the last decision holds for now", error)
                    lost = True
                await asyncio.sleep(_RETRY_S)

    def _stamped(self, gpu: str, snapshot: Snapshot, seen: Mapping[str, tuple[int, float]], now_s: float) -> Snapshot:
        """Return a snapshot with the time at which it was first received: a repeated one is as old as it was."""
        if seen.get(gpu) == (snapshot.version, snapshot.at_s):
            return snapshot.received(self.latest[gpu].at_s)
        return snapshot.received(now_s)


class ClusterFeed:
    """One feed per GPU node, updated as nodes join and leave the cluster."""

    def __init__(self, app_name: str, config: AppConfig, run_id: str) -> None:
        self._app_name = app_name
        self._config = config
        self._run_id = run_id
        self._feeds: dict[str, VramFeed] = {}
        self._names: dict[str, str] = {}
        self._task: asyncio.Task[None] | None = None

    @property
    def latest(self) -> Mapping[GpuId, Snapshot | None]:
        """The latest snapshot by GPU; None for the GPU of a node whose actor has not answered yet."""
        latest: dict[GpuId, Snapshot | None] = {}
        for node, feed in self._feeds.items():
            if not feed.latest:
                latest[GpuId(node, UNNAMED_GPU)] = None
            for gpu, snapshot in feed.latest.items():
                latest[GpuId(node, gpu)] = snapshot
        return latest

    def node_name(self, node: str) -> str | None:
        """Return the human-readable name of a node; None if it is the only node and needs no name."""
        return self._names.get(node) if len(self._feeds) > 1 else None

    def start(self) -> None:
        """Start following the cluster's nodes, on the running event loop."""
        self._task = asyncio.get_running_loop().create_task(self._follow_nodes(), name="gpu-nodes")

    async def _follow_nodes(self) -> None:
        while True:
            try:
                self._names = await asyncio.to_thread(gpu_nodes, self._config)
            except RayError as error:
                logger.warning("the cluster's nodes cannot be listed now (%s); using the last list", error)
            for node in self._feeds.keys() - self._names.keys():
                logger.info("node %s has left", node)
                self._feeds.pop(node).stop()
            for node in self._names.keys() - self._feeds.keys():
                self._feeds[node] = VramFeed(node, self._app_name, self._config, self._run_id)
                self._feeds[node].start()
            await asyncio.sleep(_NODES_INTERVAL_S)
