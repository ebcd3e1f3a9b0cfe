"""Routes engine requests to lanes: the newest decision chooses, a GPU that cannot answer hands over to its twin."""

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from typing import TypeVar

import stamina
from ray.exceptions import RayActorError
from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError
from ray.serve.handle import DeploymentHandle

from deployments.vram_feed import VramFeed
from trivet.api.dispatcher import Lane, Readiness, Routed
from trivet.api.service_status import ServiceStatus, card_status, cpu_only_reason
from trivet.config import AppConfig, Task
from trivet.errors import GpuUnavailable, Overloaded, TrivetError, Unavailable
from trivet.messages import (
    ClassifyRequest,
    ClassifyResult,
    EmbedRequest,
    EmbedResult,
    EngineRequest,
    EngineResult,
    Health,
    ModelCard,
    RerankRequest,
    RerankResult,
)
from trivet.vram.snapshot import decision_for

logger = logging.getLogger("ray.serve")

Handles = Mapping[Task, Mapping[Lane, DeploymentHandle[object]]]

_REPLICA_LOST = (RayActorError, DeploymentUnavailableError)
_HEALTH_TIMEOUT_S = 5.0

ResultT = TypeVar("ResultT", EmbedResult, RerankResult, ClassifyResult)


class RayDispatcher:
    """A `trivet.api.dispatcher.Dispatcher` over Serve handles."""

    def __init__(self, handles: Handles, feed: VramFeed | None, config: AppConfig) -> None:
        """`feed` is None where only CPU lanes are bound."""
        self._handles = handles
        self._feed = feed
        self._config = config
        self._grace_s = config.vram.grace_s
        self._retry_s = config.serving.retry_s
        self._cards: dict[Task, ModelCard] = {}

    async def embed(self, request: EmbedRequest) -> Routed[EmbedResult]:
        """Embed texts."""
        return await self._run("embedder", request, EmbedResult)

    async def rerank(self, request: RerankRequest) -> Routed[RerankResult]:
        """Score documents against a query."""
        return await self._run("reranker", request, RerankResult)

    async def classify(self, request: ClassifyRequest) -> Routed[ClassifyResult]:
        """Score hypotheses about premises."""
        return await self._run("classifier", request, ClassifyResult)

    async def _run(self, task: Task, request: EngineRequest, kind: type[ResultT]) -> Routed[ResultT]:
        """Send to the lane of this moment; it stays the request's lane unless that lane cannot answer."""
        lane, reason = self._lane(task)
        reply: EngineResult | TrivetError
        if lane == "gpu":
            try:
                reply = await self._call(task, "gpu", request)
            except Unavailable as error:
                reply = GpuUnavailable(f"{task}: {error.message}")
            if isinstance(reply, GpuUnavailable):
                lane, reason = "cpu", reply.reason
                logger.warning("rerouted to cpu: %s", reason)
        if lane == "cpu":
            reply = await self._call(task, "cpu", request)
        if isinstance(reply, TrivetError):
            raise reply
        assert isinstance(reply, kind)
        return Routed(reply, lane, reason)

    def _lane(self, task: Task) -> tuple[Lane, str | None]:
        if self._feed is None or "gpu" not in self._handles[task]:
            return "cpu", None
        decision = decision_for(self._feed.latest, task, time.monotonic(), self._grace_s)
        return decision.lane, None if decision.lane == "gpu" else decision.reason

    async def _call(self, task: Task, lane: Lane, request: EngineRequest) -> EngineResult | TrivetError:
        """One call; every request is idempotent, so a lost replica's work is sent again until `retry_s` is over."""
        handle = self._handles[task][lane]
        try:
            async for attempt in stamina.retry_context(
                on=_REPLICA_LOST, attempts=None, timeout=self._retry_s, wait_initial=0.1, wait_max=2.0
            ):
                with attempt:
                    reply: EngineResult | TrivetError = await handle.run.remote(request)
        except BackPressureError as error:
            raise Overloaded(f"{task} on {lane}: {error.message}", retry_after_s=1.0) from error
        except _REPLICA_LOST as error:
            raise Unavailable(f"no {lane} replica answers ({type(error).__name__})", retry_after_s=5.0) from error
        return reply

    async def readiness(self) -> Readiness:
        """Ask one replica of every bound lane."""
        bound = [(task, lane) for task, lanes in self._handles.items() for lane in lanes]
        answers = await asyncio.gather(*(self._health(task, lane) for task, lane in bound))
        lanes: dict[str, dict[Lane, Health]] = {}
        for (task, lane), health in zip(bound, answers, strict=True):
            lanes.setdefault(task, {})[lane] = health
            if health.card is not None:
                self._cards[task] = health.card
        return Readiness(lanes, {task: self._reason(task) for task in self._handles})

    def _reason(self, task: Task) -> str:
        if self._feed is None:
            return "only the cpu lane is bound"
        return decision_for(self._feed.latest, task, time.monotonic(), self._grace_s).reason

    async def _health(self, task: Task, lane: Lane) -> Health:
        try:
            async with asyncio.timeout(_HEALTH_TIMEOUT_S):
                health: Health = await self._handles[task][lane].health.remote()
                return health
        except (*_REPLICA_LOST, TimeoutError, BackPressureError) as error:
            return Health(False, lane, f"no answer: {type(error).__name__}")

    async def models(self) -> Sequence[ModelCard]:
        """The three cards, asked for once."""
        if len(self._cards) < len(self._handles):
            await self.readiness()
        missing = [task for task in self._handles if task not in self._cards]
        if missing:
            raise Unavailable(f"still starting: {', '.join(missing)}", retry_after_s=2.0)
        return [self._cards[task] for task in self._handles]

    def status(self) -> ServiceStatus:
        """The card by the last snapshot received."""
        if self._feed is None:
            return ServiceStatus(cpu_only_reason=cpu_only_reason(self._config), policy=self._config.vram)
        card = card_status(self._feed.latest, tuple(self._handles), time.monotonic(), self._config)
        return ServiceStatus(cards=(card,), policy=self._config.vram)
