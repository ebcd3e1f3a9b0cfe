"""The actor that watches one GPU: it probes, decides, and sends snapshots to its long-polling subscribers.

It is a named, detached actor on the GPU's node. Ray restarts it within half a second after a kill; its state is then
lost, so it resumes conservatively. The first subscriber starts it. It exits when it has had no request for `_LEASE_S`,
and so ends with the application.
"""

import asyncio
import logging
import time
from dataclasses import replace
from typing import cast

import ray
from ray.actor import ActorHandle
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from deployments.observability.logs import send_library_logs_to_serve
from deployments.observability.metrics import RaySink, report_memory
from deployments.vram.probes import build_probe
from trivet.config import TASKS, AppConfig
from trivet.vram.measure import measure_snapshot, measure_tenants
from trivet.vram.monitor import Monitor
from trivet.vram.ollama.client import OllamaClient
from trivet.vram.ollama.unload import UnloadConfig
from trivet.vram.ollama.watcher import OllamaWatcher
from trivet.vram.policy import PolicyConfig
from trivet.vram.registry import Registry, ReplicaReport
from trivet.vram.types import Snapshot, Tenant

logger = logging.getLogger("ray.serve")

NAMESPACE = "trivet"
HEARTBEAT_S = 1.0
_LEASE_S = 10.0
"""Subscribers call at least once per heartbeat, so the application is gone after this long without a call."""
_OLLAMA_INTERVAL_S = 3.0


def policy_config(config: AppConfig) -> PolicyConfig:
    """Extract the policy's settings from the configuration."""
    return PolicyConfig(
        reroute_below_bytes=config.vram.reroute_below,
        resume_above_bytes=config.vram.resume_above,
        dwell_s=config.vram.dwell_s,
        grace_s=config.vram.grace_s,
        offload_after_s=config.vram.offload_after_s,
    )


class VramActor:
    """Watches one GPU for one application."""

    def __init__(self, config: AppConfig, run_id: str) -> None:
        send_library_logs_to_serve()
        self._sink = RaySink()
        self._registry = Registry()
        restarted = ray.get_runtime_context().was_current_actor_reconstructed
        self._monitor = Monitor(
            build_probe(config, self._registry, run_id),
            policy_config(config),
            TASKS,
            time.monotonic,
            heartbeat_s=HEARTBEAT_S,
            resumed=restarted,
        )
        self._interval_s = config.vram.probe_interval_s
        self._changed = asyncio.Condition()
        self._last_asked_s = time.monotonic()
        self._tenants: tuple[Tenant, ...] = ()
        self._tasks = [asyncio.get_running_loop().create_task(self._watch(), name="vram-watch")]
        if config.vram.ollama_url is not None:
            watcher = OllamaWatcher(
                OllamaClient(str(config.vram.ollama_url)),
                UnloadConfig(mode=config.vram.ollama_unload),
                time.monotonic,
            )
            self._tasks.append(asyncio.get_running_loop().create_task(self._watch_ollama(watcher), name="vram-ollama"))
        for task in self._tasks:
            task.add_done_callback(_restart_on_failure)

    async def next_snapshot(self, seen: tuple[int, float] | None) -> Snapshot:
        """Wait for a snapshot that differs from the one `seen` (version, at_s), and return it."""
        self._last_asked_s = time.monotonic()
        async with self._changed:
            await self._changed.wait_for(lambda: self._latest_other_than(seen) is not None)
        snapshot = self._latest_other_than(seen)
        assert snapshot is not None
        return replace(snapshot, tenants=self._tenants)

    async def report(self, report: ReplicaReport) -> None:
        """Store a GPU replica's report about its process and its allocator."""
        self._registry.report(report)

    def _latest_other_than(self, seen: tuple[int, float] | None) -> Snapshot | None:
        latest = self._monitor.latest
        if latest is None or (latest.version, latest.at_s) == seen:
            return None
        return latest

    async def _watch(self) -> None:
        while time.monotonic() - self._last_asked_s < _LEASE_S:
            before = self._monitor.latest
            snapshot = await asyncio.to_thread(self._monitor.tick)
            if snapshot is not None:
                measure_snapshot(self._sink, before, snapshot)
                report_memory(self._sink, "vram-actor")
                async with self._changed:
                    self._changed.notify_all()
            await asyncio.sleep(self._interval_s)
        logger.info("no subscriber has called for %g s: the application has stopped, exiting", _LEASE_S)
        ray.kill(ray.get_runtime_context().current_actor, no_restart=True)

    async def _watch_ollama(self, watcher: OllamaWatcher) -> None:
        """Keep the list of tenants up to date, in a separate task so that a slow Ollama delays no decision."""
        while True:
            if (latest := self._monitor.latest) is not None:
                before, self._tenants = self._tenants, await watcher.tick(latest)
                measure_tenants(self._sink, before, self._tenants, latest.device)
            await asyncio.sleep(_OLLAMA_INTERVAL_S)


def _restart_on_failure(task: "asyncio.Task[None]") -> None:
    """Let Ray restart the actor, so that an actor that no longer watches does not look alive."""
    if not task.cancelled() and (error := task.exception()) is not None:
        logger.error("%s failed: restarting the VRAM actor", task.get_name(), exc_info=error)
        ray.kill(ray.get_runtime_context().current_actor, no_restart=False)


def actor_name(app_name: str, node: str) -> str:
    """Return the name of an application's actor on one node."""
    return f"{app_name}:vram:{node}"


def vram_actor(node: str, app_name: str, config: AppConfig, run_id: str) -> "ActorHandle[VramActor]":
    """Return an application's actor on one node, after starting it if necessary."""
    actor = ray.remote(VramActor).options(
        name=actor_name(app_name, node),
        scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False),
        namespace=NAMESPACE,
        lifetime="detached",
        get_if_exists=True,
        max_restarts=-1,
        max_task_retries=-1,
        num_cpus=0,
    )
    return cast("ActorHandle[VramActor]", actor.remote(config, run_id))
