"""Bounds the text that open calls hold in this process, before any of it is sent on. Pure decision, thin shell.

Characters are known at once and tokens are not: counting those is the replica's work, which bounds them exactly
(`limits.max_request_tokens`, `limits.max_queued_tokens`). What is bounded here is what waits on the way to that.
"""

import math
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from trivet.config import TASKS, Task
from trivet.dispatch.protocol import Dispatcher, Readiness, Routed
from trivet.dispatch.status import ServiceStatus
from trivet.errors import Overloaded
from trivet.messages import (
    ClassifyRequest,
    ClassifyResult,
    EmbedRequest,
    EmbedResult,
    EngineRequest,
    ModelCard,
    PredictRequest,
    PredictResult,
    RerankRequest,
    RerankResult,
    TokenizeRequest,
    TokenizeResult,
)

MEMORY_S = 10.0
"""The drain rate is mostly of this many last seconds of work."""

LEAST_RETRY_S = 1.0
MOST_RETRY_S = 300.0
"""A rate measured over a hiccup may promise any time; nobody needs to stay away for longer than a request may take."""

ResultT = TypeVar("ResultT", EmbedResult, RerankResult, ClassifyResult, PredictResult)


def characters_of(request: EngineRequest) -> int:
    """What a request costs here."""
    match request:
        case EmbedRequest():
            return sum(map(len, request.texts))
        case RerankRequest():
            return len(request.query) + sum(map(len, request.documents))
        case ClassifyRequest() | PredictRequest():
            return sum(len(item.text) + len(item.text_pair or "") for item in request.inputs)


@dataclass(frozen=True, slots=True)
class Load:
    """What is open to one model, and how quickly it goes."""

    open_characters: int = 0
    drained_per_s: float = 0.0
    """Characters; 0 before anything was measured."""

    @property
    def retry_after_s(self) -> float:
        """Until half of what is open is done, at the measured rate."""
        if not self.drained_per_s:
            return LEAST_RETRY_S
        return min(MOST_RETRY_S, max(LEAST_RETRY_S, 0.5 * self.open_characters / self.drained_per_s))


def refusal(load: Load, characters: int, limit_characters: int) -> Overloaded | None:
    """Why a call may not be opened; None if it may. One that is larger than the limit may while nothing is open."""
    if not load.open_characters or load.open_characters + characters <= limit_characters:
        return None
    return Overloaded(
        f"open requests hold {load.open_characters} characters; "
        f"{characters} more exceed the limit of {limit_characters}",
        retry_after_s=load.retry_after_s,
    )


class DrainRate:
    """Characters answered per second of work: idle time does not count, and old work fades."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._since_s: float | None = None
        self._characters = 0.0
        self._busy_s = 0.0

    @property
    def per_s(self) -> float:
        """0 before anything was measured."""
        return self._characters / self._busy_s if self._busy_s else 0.0

    def busy(self) -> None:
        """Work is open from now on, if it was not already."""
        if self._since_s is None:
            self._since_s = self._clock()

    def idle(self) -> None:
        """Nothing is open any more."""
        self._since_s = None

    def drained(self, characters: int) -> None:
        """A call has been answered."""
        if self._since_s is None:
            return
        now_s = self._clock()
        passed_s = now_s - self._since_s
        kept = math.exp(-passed_s / MEMORY_S)
        self._characters = self._characters * kept + characters
        self._busy_s = self._busy_s * kept + passed_s
        self._since_s = now_s


class _Door:
    """One model's open calls."""

    def __init__(self, limit_characters: int, clock: Callable[[], float]) -> None:
        self._limit_characters = limit_characters
        self._rate = DrainRate(clock)
        self._open_characters = 0

    @property
    def load(self) -> Load:
        return Load(self._open_characters, self._rate.per_s)

    async def through(self, request: EngineRequest, call: Callable[[], Awaitable[Routed[ResultT]]]) -> Routed[ResultT]:
        characters = characters_of(request)
        refused = refusal(self.load, characters, self._limit_characters)
        if refused is not None:
            raise refused
        self._rate.busy()
        self._open_characters += characters
        try:
            routed = await call()
            self._rate.drained(characters)
            return routed
        except Overloaded as error:
            # Refused further down, by a queue that knows the length of its own line but not always the speed.
            error.retry_after_s = max(error.retry_after_s, self.load.retry_after_s)
            raise
        finally:
            self._open_characters -= characters
            if not self._open_characters:
                self._rate.idle()


class AdmittedDispatcher:
    """A `trivet.dispatch.protocol.Dispatcher` around another; Overloaded where too much is open already."""

    def __init__(self, inner: Dispatcher, limit_characters: int, clock: Callable[[], float]) -> None:
        """`limit_characters`: of the open calls to one model; `clock`: monotonic seconds."""
        self._inner = inner
        self._doors: dict[Task, _Door] = {task: _Door(limit_characters, clock) for task in TASKS}

    def load(self, task: Task) -> Load:
        """What is open to a model now."""
        return self._doors[task].load

    async def embed(self, request: EmbedRequest) -> Routed[EmbedResult]:
        """Embed texts."""
        return await self._doors["embedder"].through(request, lambda: self._inner.embed(request))

    async def rerank(self, request: RerankRequest) -> Routed[RerankResult]:
        """Score documents against a query."""
        return await self._doors["reranker"].through(request, lambda: self._inner.rerank(request))

    async def classify(self, request: ClassifyRequest) -> Routed[ClassifyResult]:
        """Score hypotheses about premises."""
        return await self._doors["classifier"].through(request, lambda: self._inner.classify(request))

    async def predict(self, request: PredictRequest) -> Routed[PredictResult]:
        """Score the classifier's own classes."""
        return await self._doors["classifier"].through(request, lambda: self._inner.predict(request))

    async def tokenize(self, request: TokenizeRequest) -> TokenizeResult:
        """Show texts as tokens."""
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
