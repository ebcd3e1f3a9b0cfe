"""Sends requests to replicas: the newest VRAM decision chooses the lane, and the CPU answers what the GPU refuses."""

import asyncio
import logging
import os
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import stamina
from ray.exceptions import RayActorError
from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError
from ray.serve.handle import DeploymentHandle

from deployments.cpu_routers import has_lost_all_replicas, running_replicas
from deployments.options import deployment_name
from deployments.service.ports import named_ports
from deployments.shared_calls import SharedCalls, call_once
from deployments.vram.feed import ClusterFeed
from trivet.config import AppConfig, Lane, Task
from trivet.dispatch.protocol import Readiness, Routed
from trivet.dispatch.status import ReplicaCount, ServiceStatus, cpu_only_reason, gpu_status, merged_card
from trivet.errors import GpuUnavailable, Overloaded, TrivetError, Unavailable
from trivet.gpu import GpuId, torch_without_cuda
from trivet.messages import (
    DetokenizeRequest,
    DetokenizeResult,
    EngineRequest,
    EngineResult,
    Health,
    ModelCard,
    Request,
    ResultT,
    TokenizeRequest,
    TokenizeResult,
)
from trivet.metrics import LAST_RESORTS, REROUTES, MetricsSink
from trivet.vram.snapshot import Placement, decision_for, last_resort, next_choice, placement_for

logger = logging.getLogger("ray.serve")

Handles = Mapping[Task, Mapping[Lane, DeploymentHandle[object]]]

_Call = Callable[[Any], Awaitable[Any]]

_REPLICA_LOST = (RayActorError, DeploymentUnavailableError)
_HEALTH_TIMEOUT_S = 5.0
_LOOK_FOR_REPLICAS_S = 0.1
_LOOK_FOR_STUCK_S = 1.0
_NO_ANSWER = frozenset({"stuck", "no_reading"})
"""Causes of decisions that say that a request may wait on this GPU in vain."""


class CpuCause(NamedTuple):
    """Why the CPU gets work of a model that has a GPU lane: `cause` for metrics, `reason` human-readable."""

    cause: str
    reason: str


class _Stuck(NamedTuple):
    """GPUs that do not answer, and why."""

    gpus: frozenset[GpuId]
    reason: str


def _ids(gpus: Mapping[GpuId, tuple[str, ...]]) -> tuple[str, ...]:
    """The replicas on any of these GPUs."""
    return tuple(replica for ids in gpus.values() for replica in ids)


class RayDispatcher:
    """A `trivet.dispatch.protocol.ModelServer` over Serve handles."""

    def __init__(self, handles: Handles, feed: ClusterFeed | None, config: AppConfig, sink: MetricsSink) -> None:
        """Look up the replicas' methods once. `feed` is None where only CPU lanes are bound."""
        self._handles = handles
        # Serve counts calls, not requests, when it decides how many CPU replicas the load needs.
        sharing = not config.cpu.replicas.scales
        # Looking a method up makes a new handle: it costs a tenth of a call, so it is done once.
        self._calls = {
            task: {lane: SharedCalls(handle.run, handle.run_all, sharing=sharing) for lane, handle in lanes.items()}
            for task, lanes in handles.items()
        }
        self._feed = feed
        self._config = config
        self._ports = named_ports(os.environ)
        self._sink = sink
        self._started_s = time.monotonic()
        self._grace_s = config.vram.grace_s
        self._retry_s = config.serving.retry_s
        self._cards: dict[Task, ModelCard] = {}

    async def call(self, request: Request[ResultT]) -> Routed[ResultT]:
        """Send the request to its model's current lane; it stays there unless that lane cannot answer."""
        task = request.task
        lane: Lane = "cpu"
        reroute: CpuCause | None = None
        reply: EngineResult | TrivetError
        placement = self._placement(task)
        if placement is not None and placement.gpus:
            reply, cause = await self._on_gpu(task, request, placement.gpus)
            if isinstance(reply, GpuUnavailable):
                reroute = CpuCause(cause, reply.reason)
                logger.warning("rerouted to cpu: %s", reply.reason)
            else:
                lane = "gpu"
        elif placement is not None:
            reroute = CpuCause(placement.decision.cause, placement.decision.reason)
        if lane == "cpu" and reroute is not None and placement is not None and not placement.gpus:
            reply, lane, reroute = await self._on_cpu_or_full_gpu(task, request, reroute)
        elif lane == "cpu":
            if reroute is not None:
                self._sink.count(REROUTES, {"model": task, "cause": reroute.cause})
            reply = await self._reply(task, "cpu", self._calls[task]["cpu"].call, request)
        if isinstance(reply, TrivetError):
            raise reply
        return Routed(request.checked(reply), lane, reroute.reason if reroute else None)

    async def _on_cpu_or_full_gpu(
        self, task: Task, request: EngineRequest, reroute: CpuCause
    ) -> tuple[EngineResult | TrivetError, Lane, CpuCause]:
        """Ask the CPU lane. If it has no replica left, ask once a GPU that holds the weights, although it has no room.

        Serve would keep the request until a CPU replica has started.
        """
        answering = asyncio.ensure_future(self._reply(task, "cpu", self._calls[task]["cpu"].call, request))
        try:
            while not answering.done():
                if has_lost_all_replicas(self._handles[task]["cpu"].app_name, deployment_name(task, "cpu")):
                    reply = await self._on_full_gpu(task, request)
                    if reply is not None:
                        reason = f"{reroute.reason}; no cpu replica is running: the gpu answers all the same"
                        logger.warning("%s", reason)
                        self._sink.count(LAST_RESORTS, {"model": task})
                        return reply, "gpu", CpuCause(reroute.cause, reason)
                    break
                await asyncio.wait({answering}, timeout=_LOOK_FOR_REPLICAS_S)
            self._sink.count(REROUTES, {"model": task, "cause": reroute.cause})
            return await answering, "cpu", reroute
        finally:
            answering.cancel()

    async def _on_full_gpu(self, task: Task, request: EngineRequest) -> EngineResult | TrivetError | None:
        """Ask the GPUs that hold the weights, whether they have room or not; None if none of them can answer."""
        assert self._feed is not None
        gpus = last_resort(self._feed.latest, task, time.monotonic(), self._grace_s)
        if not gpus:
            return None
        reply, _ = await self._on_gpu(task, request, gpus)
        return None if isinstance(reply, GpuUnavailable) else reply

    async def _on_gpu(
        self, task: Task, request: EngineRequest, gpus: Mapping[GpuId, tuple[str, ...]]
    ) -> tuple[EngineResult | TrivetError, str]:
        """Ask these GPUs until one does not refuse; return its answer, or why all refused and the last cause."""

        def ask(replicas: tuple[str, ...]) -> Awaitable[EngineResult | TrivetError]:
            return self._reply(task, "gpu", partial(self._calls[task]["gpu"].call, replicas=replicas), request)

        refusals: list[str] = []
        left = dict(gpus)
        while True:
            try:
                reply = await self._unless_stuck(task, gpus, ask)
            except Unavailable as error:
                return GpuUnavailable("; ".join((*refusals, f"{task}: {error.message}"))), "gpu_lost"
            if isinstance(reply, _Stuck):
                logger.warning("not waited for any longer: %s", reply.reason)
                refusals.append(reply.reason)
                left = {gpu: ids for gpu, ids in left.items() if gpu not in gpus}
                if not left:
                    return GpuUnavailable("; ".join(refusals)), "gpu_stuck"
                gpus = left
                continue
            if not isinstance(reply, GpuUnavailable):
                return reply, ""
            refusals.append(reply.reason)
            if reply.gpu is None or left.pop(reply.gpu, None) is None or not left:
                return GpuUnavailable("; ".join(refusals)), "gpu_refused"
            logger.warning("asking another GPU: %s", reply.reason)
            gpus = next_choice(left, reply.gpu)

    async def _unless_stuck(
        self, task: Task, gpus: Mapping[GpuId, tuple[str, ...]], ask: Callable[[tuple[str, ...]], Awaitable[Any]]
    ) -> "EngineResult | TrivetError | _Stuck":
        """Wait for an answer of one of these GPUs, or until none of them answers any more.

        Which of several has the request is not known. While only some do not answer, the others are asked too, and the
        first answer counts.

        Args:
            task: the model's.
            gpus: those that are asked first, with the model's replicas on each.
            ask: sends the request to one of some replicas.
        """
        answering = {asyncio.ensure_future(ask(_ids(gpus)))}
        try:
            while True:
                done, _ = await asyncio.wait(answering, timeout=_LOOK_FOR_STUCK_S, return_when=asyncio.FIRST_COMPLETED)
                if done:
                    reply: EngineResult | TrivetError = done.pop().result()
                    return reply
                if stuck := self._stuck(task, gpus):
                    gpus = {gpu: ids for gpu, ids in gpus.items() if gpu not in stuck.gpus}
                    if not gpus:
                        return stuck
                    logger.warning("asking another GPU as well: %s", stuck.reason)
                    answering.add(asyncio.ensure_future(ask(_ids(gpus))))
        finally:
            for one in answering:
                one.cancel()
            await asyncio.gather(*answering, return_exceptions=True)

    def _stuck(self, task: Task, gpus: Mapping[GpuId, tuple[str, ...]]) -> "_Stuck | None":
        """Return those of these GPUs that do not answer now, by the latest decisions."""
        assert self._feed is not None
        now_s, latest = time.monotonic(), self._feed.latest
        # Right after the VRAM actor was restarted there is no snapshot, which says nothing.
        known = {gpu: snapshot for gpu in gpus if (snapshot := latest.get(gpu)) is not None}
        decisions = {gpu: decision_for(snapshot, task, now_s, self._grace_s) for gpu, snapshot in known.items()}
        found = {gpu: decision for gpu, decision in decisions.items() if decision.cause in _NO_ANSWER}
        return _Stuck(frozenset(found), "; ".join(one.reason for one in found.values())) if found else None

    def lane(self, task: Task) -> Lane:
        """Return the lane that a request to this model would be sent to now."""
        placement = self._placement(task)
        return "gpu" if placement is not None and placement.gpus else "cpu"

    def snapshot_age_s(self) -> float | None:
        """Return the age of the oldest snapshot, or the time since the start if one is missing; None without a GPU."""
        if self._feed is None:
            return None
        heard_s = [self._started_s if latest is None else latest.at_s for latest in self._feed.latest.values()]
        return time.monotonic() - min(heard_s, default=self._started_s)

    def _placement(self, task: Task) -> Placement | None:
        """Return where the model's requests go now; None if it has no GPU lane."""
        if self._feed is None or "gpu" not in self._handles[task]:
            return None
        return placement_for(self._feed.latest, task, time.monotonic(), self._grace_s)

    async def _reply(self, task: Task, lane: Lane, call: _Call, request: object) -> Any:
        """Call a replica, and send the work again if the replica is lost: every request is idempotent."""
        try:
            try:
                return await call(request)
            except _REPLICA_LOST as error:
                return await self._retried(lane, call, request, error)
        except BackPressureError as error:
            raise Overloaded(f"{task} on {lane}: {error.message}", retry_after_s=1.0) from error
        except _REPLICA_LOST as error:
            raise Unavailable(f"no {lane} replica answers ({type(error).__name__})", retry_after_s=5.0) from error

    async def _retried(self, lane: Lane, call: _Call, request: object, first_error: Exception) -> Any:
        """Retry for `retry_s` on the CPU lane, the last resort; once on the GPU lane, since the CPU can answer too."""
        attempts, timeout_s = (2, None) if lane == "gpu" else (None, self._retry_s)
        async for attempt in stamina.retry_context(
            on=_REPLICA_LOST, attempts=attempts, timeout=timeout_s, wait_initial=0.1, wait_max=2.0
        ):
            with attempt:
                if attempt.num == 1:  # made already: a context of retries costs more than a call, and few calls fail
                    raise first_error
                reply = await call(request)
        return reply

    async def readiness(self) -> Readiness:
        """Ask one replica of every bound lane for its health."""
        bound = [(task, lane) for task, lanes in self._handles.items() for lane in lanes]
        answers = await asyncio.gather(*(self._health(task, lane) for task, lane in bound))
        lanes: dict[str, dict[Lane, Health]] = {}
        for (task, lane), health in zip(bound, answers, strict=True):
            lanes.setdefault(task, {})[lane] = health
        for task in self._handles:
            cards = {lane: health.card for lane, health in lanes[task].items() if health.card is not None}
            card = merged_card(cards, self._cards.get(task))
            if card is not None:
                self._cards[task] = card
        return Readiness(lanes, {task: self._reason(task) for task in self._handles})

    def _reason(self, task: Task) -> str:
        placement = self._placement(task)
        return "only the cpu lane is bound" if placement is None else placement.decision.reason

    async def _health(self, task: Task, lane: Lane) -> Health:
        try:
            async with asyncio.timeout(_HEALTH_TIMEOUT_S):
                health: Health = await self._handles[task][lane].health.remote()
                return health
        except (*_REPLICA_LOST, TimeoutError, BackPressureError) as error:
            return Health(False, lane, f"no answer: {type(error).__name__}")

    async def models(self) -> Sequence[ModelCard]:
        """Return the three cards, which are fetched once."""
        if len(self._cards) < len(self._handles):
            await self.readiness()
        missing = [task for task in self._handles if task not in self._cards]
        if missing:
            raise Unavailable(f"still starting: {', '.join(missing)}", retry_after_s=2.0)
        return [self._cards[task] for task in self._handles]

    def status(self) -> ServiceStatus:
        """Describe the GPUs by the latest snapshots."""
        cpu_replicas: dict[str, ReplicaCount] = {
            task: ReplicaCount(
                running=running_replicas(lanes["cpu"].app_name, deployment_name(task, "cpu")),
                bounds=self._config.cpu.replicas,
            )
            for task, lanes in self._handles.items()
        }
        if self._feed is None:
            return ServiceStatus(
                cpu_only_reason=cpu_only_reason(self._config, torch_without_cuda()),
                policy=self._config.vram,
                cpu_replicas=cpu_replicas,
                ports=self._ports,
            )
        models, now_s = tuple(self._handles), time.monotonic()
        gpus = tuple(
            gpu_status(snapshot, models, now_s, self._config, gpu=gpu, node=self._feed.node_name(gpu.node))
            for gpu, snapshot in self._feed.latest.items()
        )
        return ServiceStatus(gpus=gpus, policy=self._config.vram, cpu_replicas=cpu_replicas, ports=self._ports)

    async def tokenize(self, request: TokenizeRequest) -> TokenizeResult:
        """Split texts into tokens, on the CPU replica, since it needs no device."""
        result: TokenizeResult = await self._reply(
            request.task, "cpu", partial(call_once, self._handles[request.task]["cpu"].tokenize), request
        )
        return result

    async def detokenize(self, request: DetokenizeRequest) -> DetokenizeResult:
        """Turn token ids into texts, on the CPU replica as well."""
        reply: DetokenizeResult | TrivetError = await self._reply(
            request.task, "cpu", partial(call_once, self._handles[request.task]["cpu"].detokenize), request
        )
        if isinstance(reply, TrivetError):
            raise reply
        return reply
