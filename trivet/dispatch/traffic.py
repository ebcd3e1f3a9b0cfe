"""A dispatcher that counts what passes through it: calls, tokens, latency, reroutes. It changes nothing."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from trivet.api.middleware.telemetry import Telemetry
from trivet.config import TASKS, Task
from trivet.dispatch.call_meter import CallMeter
from trivet.dispatch.protocol import Dispatcher, Readiness, Routed
from trivet.dispatch.reroutes import RerouteLog
from trivet.dispatch.rolling_stats import Rolling
from trivet.dispatch.status import ServiceStatus
from trivet.errors import InvalidInput
from trivet.messages import (
    ClassifyRequest,
    ClassifyResult,
    EmbedRequest,
    EmbedResult,
    ModelCard,
    PredictRequest,
    PredictResult,
    RerankRequest,
    RerankResult,
    TokenizeRequest,
    TokenizeResult,
)

ResultT = TypeVar("ResultT", EmbedResult, RerankResult, ClassifyResult, PredictResult)


_UNMETERED = CallMeter(Telemetry())


@dataclass(slots=True)
class ModelTraffic:
    """One model's calls: those that ended lately, and those still open."""

    rolling: Rolling
    in_flight: int = 0


class WatchedDispatcher:
    """A `trivet.dispatch.protocol.Dispatcher` around another. What it counts is this process's share of the traffic."""

    def __init__(
        self,
        inner: Dispatcher,
        clock: Callable[[], float],
        unix_clock: Callable[[], float],
        meter: CallMeter = _UNMETERED,
    ) -> None:
        self._inner = inner
        self._clock = clock
        self._meter = meter
        self.traffic: dict[Task, ModelTraffic] = {task: ModelTraffic(Rolling(clock)) for task in TASKS}
        self.reroutes = RerouteLog(unix_clock)

    async def embed(self, request: EmbedRequest) -> Routed[EmbedResult]:
        """Embed texts."""
        return await self._counted("embedder", self._inner.embed(request))

    async def rerank(self, request: RerankRequest) -> Routed[RerankResult]:
        """Score documents against a query."""
        return await self._counted("reranker", self._inner.rerank(request))

    async def classify(self, request: ClassifyRequest) -> Routed[ClassifyResult]:
        """Score hypotheses about premises."""
        return await self._counted("classifier", self._inner.classify(request))

    async def predict(self, request: PredictRequest) -> Routed[PredictResult]:
        """Score the classifier's own classes."""
        return await self._counted("classifier", self._inner.predict(request))

    async def tokenize(self, request: TokenizeRequest) -> TokenizeResult:
        """Show texts as tokens; not counted, since it needs no lane."""
        return await self._inner.tokenize(request)

    async def readiness(self) -> Readiness:
        """Ask every bound lane."""
        return await self._inner.readiness()

    async def models(self) -> Sequence[ModelCard]:
        """The models served."""
        return await self._inner.models()

    def status(self) -> ServiceStatus:
        """Cards and lanes now."""
        return self._inner.status()

    async def _counted(self, task: Task, call: Awaitable[Routed[ResultT]]) -> Routed[ResultT]:
        traffic = self.traffic[task]
        started_s = self._clock()
        traffic.in_flight += 1
        try:
            routed = await call
        except InvalidInput as error:
            self._meter.failed(task, error)
            raise  # the caller's mistake, not a failure of the model
        except BaseException as error:  # a cancelled call, most often a deadline that has passed, is a failure too
            self._meter.failed(task, error)
            traffic.rolling.failed()
            raise
        finally:
            traffic.in_flight -= 1
        total_s = self._clock() - started_s
        self._meter.answered(task, routed, started_s, total_s)
        reason = routed.reroute_reason
        traffic.rolling.answered(total_s, tokens=routed.result.usage.tokens, rerouted=reason is not None)
        if reason is not None:
            self.reroutes.add(task, reason)
        return routed
