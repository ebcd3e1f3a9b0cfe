"""The actor that watches a node's GPUs: it probes, decides, and sends snapshots to its long-polling subscribers.

It is a named, detached actor. Ray restarts it within half a second after a kill; its state is then
lost, so it resumes conservatively. The first subscriber starts it. It exits when it has had no request for `_LEASE_S`,
and so ends with the application.
"""

import asyncio
import logging
import time
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

import ray
from ray.actor import ActorHandle
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from deployments.observability.logs import send_library_logs_to_serve
from deployments.observability.metrics import RaySink, report_memory
from deployments.vram.probes import UNNAMED_GPU, node_gpus
from trivet.config import TASKS, AppConfig, Task
from trivet.vram.deadline import CallTimedOut, DeadlineThread, StillHanging
from trivet.vram.measure import measure_snapshot, measure_tenants
from trivet.vram.monitor import Monitor
from trivet.vram.nvml import GpuUnreadable
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
_FIND_INTERVAL_S = 2.0
_FIND_TIMEOUT_S = 10.0
"""The driver may take seconds to answer for the first time."""


def policy_config(config: AppConfig) -> PolicyConfig:
    """Extract the policy's settings from the configuration."""
    return PolicyConfig(
        reroute_below_bytes=config.vram.reroute_below,
        resume_above_bytes=config.vram.resume_above,
        dwell_s=config.vram.dwell_s,
        grace_s=config.vram.grace_s,
        offload_after_s=config.vram.offload_after_s,
    )


@dataclass(frozen=True, slots=True)
class Assignment:
    """The GPU that a new replica takes: None where the node has one only, or while it has to wait."""

    gpu: str | None
    waits_for: str | None = None
    """Why the replica has to wait; None if it need not."""


class VramActor:
    """Watches the GPUs of one node for one application, each by itself: one that hangs delays no other."""

    def __init__(self, config: AppConfig, run_id: str) -> None:
        send_library_logs_to_serve()
        self._sink = RaySink()
        self._config = config
        self._registry = Registry(silent_after_s=config.vram.grace_s)
        self._gpus = node_gpus(config, self._registry, run_id)
        self._finder: DeadlineThread[tuple[str, ...]] = DeadlineThread("gpus")
        self._restarted = ray.get_runtime_context().was_current_actor_reconstructed
        self._monitors: dict[str, Monitor] = {}
        self._changed = asyncio.Condition()
        self._last_asked_s = time.monotonic()
        self._tenants: dict[str, tuple[Tenant, ...]] = {}  # by the URL of the Ollama server
        self._tasks: set[asyncio.Task[None]] = set()
        self._start(self._watch_node(), "vram-node")
        for url in config.vram.ollama_hosts:
            watcher = OllamaWatcher(
                OllamaClient(url),
                UnloadConfig(mode=config.vram.ollama_unload),
                time.monotonic,
                server=url if len(config.vram.ollama_hosts) > 1 else "",
            )
            self._start(self._watch_ollama(url, watcher), f"vram-ollama {url}")

    async def next_snapshots(self, seen: Mapping[str, tuple[int, float]]) -> Mapping[str, Snapshot]:
        """Wait for a snapshot of a GPU that differs from those `seen` (version, at_s), and return those of all GPUs."""
        self._last_asked_s = time.monotonic()
        async with self._changed:
            await self._changed.wait_for(lambda: self._differs(seen))
        now_s = time.monotonic()
        tenants = tuple(tenant for url in self._config.vram.ollama_hosts for tenant in self._tenants.get(url, ()))
        return {
            gpu: replace(snapshot, tenants=tenants, replicas=self._registry.view(now_s, gpu).replicas())
            for gpu, snapshot in self._latest().items()
        }

    async def report(self, report: ReplicaReport) -> None:
        """Store a GPU replica's report about its process and its allocator; watch its GPU if that is new."""
        self._registry.report(report)
        self._watch(report.gpu)

    async def assign(self, pid: int, task: Task) -> Assignment:
        """Give a new replica its GPU, for as long as process `pid` lives."""
        gpus = tuple(self._monitors)
        if not gpus:
            return Assignment(None, "the driver has not been asked for the GPUs of this node yet")
        if len(gpus) == 1:  # or the driver does not list them: Ray's choice stands
            return Assignment(None)
        latest = self._latest()
        unreadable = {gpu for gpu in gpus if gpu not in latest or not latest[gpu].observation.known}
        placement = self._config.gpu.placement
        chosen = self._registry.assign(pid, task, gpus, placement, unreadable)
        if chosen is None:
            lost = f", of which {', '.join(sorted(unreadable))} cannot be read" if unreadable else ""
            return Assignment(None, f"none of {len(gpus)} GPUs{lost} is free for it (placement: {placement})")
        return Assignment(chosen)

    def _latest(self) -> dict[str, Snapshot]:
        return {gpu: monitor.latest for gpu, monitor in self._monitors.items() if monitor.latest is not None}

    def _differs(self, seen: Mapping[str, tuple[int, float]]) -> bool:
        return {gpu: (latest.version, latest.at_s) for gpu, latest in self._latest().items()} != seen

    def _start(self, work: Coroutine[Any, Any, None], name: str) -> None:
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(_restart_on_failure)

    async def _watch_node(self) -> None:
        """Look for GPUs again and again: the driver may be late, and a GPU that was lost may come back."""
        while time.monotonic() - self._last_asked_s < _LEASE_S:
            try:
                gpus = await asyncio.to_thread(self._finder.call, self._gpus.find, timeout_s=_FIND_TIMEOUT_S)
            except (GpuUnreadable, CallTimedOut, StillHanging) as error:
                # The probe reads it until the driver lists its GPUs, and logs why it cannot.
                logger.debug("the GPUs cannot be listed: %r", error)
                gpus = ()
            if gpus:
                self._monitors.pop(UNNAMED_GPU, None)
            elif not self._monitors:
                self._watch(UNNAMED_GPU)
            for gpu in gpus:
                self._watch(gpu)
            await asyncio.sleep(_FIND_INTERVAL_S)
        logger.info("no subscriber has called for %g s: the application has stopped, exiting", _LEASE_S)
        ray.kill(ray.get_runtime_context().current_actor, no_restart=True)

    def _watch(self, gpu: str) -> None:
        """Start watching a GPU, unless it is watched already."""
        if gpu in self._monitors:
            return
        self._monitors[gpu] = monitor = Monitor(
            self._gpus.probe(gpu),
            policy_config(self._config),
            TASKS,
            time.monotonic,
            heartbeat_s=HEARTBEAT_S,
            resumed=self._restarted,
        )
        self._start(self._watch_gpu(gpu, monitor), f"vram-{gpu}")

    async def _watch_gpu(self, gpu: str, monitor: Monitor) -> None:
        while self._monitors.get(gpu) is monitor:
            before = monitor.latest
            snapshot = await asyncio.to_thread(monitor.tick)
            if snapshot is not None:
                measure_snapshot(self._sink, before, snapshot)
                report_memory(self._sink, "vram-actor")
                async with self._changed:
                    self._changed.notify_all()
            await asyncio.sleep(self._config.vram.probe_interval_s)

    async def _watch_ollama(self, url: str, watcher: OllamaWatcher) -> None:
        """Keep a server's list of tenants up to date, in a separate task so that a slow one delays nothing else."""
        while True:
            if latest := self._latest():
                # Ollama does not say which GPU its models are on: the one that lacks room counts.
                lacking = min(latest.values(), key=lambda snapshot: snapshot.observation.free_bytes)
                before, self._tenants[url] = self._tenants.get(url, ()), await watcher.tick(lacking)
                measure_tenants(self._sink, before, self._tenants[url], lacking.device)
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
