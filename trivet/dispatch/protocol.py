"""The boundary between HTTP and the models. Routes call these protocols and nothing behind them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from trivet.config import Lane
from trivet.dispatch.status import ServiceStatus
from trivet.messages import (
    DetokenizeRequest,
    DetokenizeResult,
    Health,
    ModelCard,
    Request,
    ResultT,
    TokenizeRequest,
    TokenizeResult,
)

RoutedT = TypeVar("RoutedT", covariant=True)


@dataclass(frozen=True, slots=True)
class CacheUse:
    """How many of a call's inputs were answered from the cache."""

    hits: int
    inputs: int


@dataclass(frozen=True, slots=True)
class Routed(Generic[RoutedT]):
    """A result and the lane that it came from."""

    result: RoutedT
    lane: Lane
    reroute_reason: str | None = None
    """Why the CPU answered although this model has a GPU lane, or the GPU although it has no room; else None."""
    cache: CacheUse | None = None
    """None where no cache was used."""


@dataclass(frozen=True, slots=True)
class Readiness:
    """Health per model and bound lane. A lane that did not answer says so in its `detail`."""

    lanes: Mapping[str, Mapping[Lane, Health]]
    reasons: Mapping[str, str]
    """Per model: why its requests go where they go now."""

    @property
    def all_ready(self) -> bool:
        """Whether every bound lane has answered a real forward."""
        return all(health.ready for lanes in self.lanes.values() for health in lanes.values())

    @property
    def all_served(self) -> bool:
        """Whether every model has at least one lane that answers."""
        return all(any(health.ready for health in lanes.values()) for lanes in self.lanes.values())


class Dispatcher(Protocol):
    """Answers requests. Caching, admission and traffic are dispatchers around another one."""

    async def call(self, request: Request[ResultT]) -> Routed[ResultT]:
        """Answer a request, on whichever lane can.

        Raises:
            TrivetError: nothing can answer it. A reroute to the CPU is an answer, not an error.
        """


class ServiceInfo(Protocol):
    """Describes what is served. It runs no model, so nothing wraps it: no cache, no admission, no traffic count."""

    async def models(self) -> Sequence[ModelCard]:
        """Return the models served: embedder, reranker, classifier. Every request calls this, so it must be cheap."""

    async def readiness(self) -> Readiness:
        """Ask every bound lane of every model for its health."""

    def status(self) -> ServiceStatus:
        """GPUs and lanes as this process knows them already; makes no call."""

    async def tokenize(self, request: TokenizeRequest) -> TokenizeResult:
        """Split texts into tokens; needs a tokenizer and no forward."""

    async def detokenize(self, request: DetokenizeRequest) -> DetokenizeResult:
        """Turn token ids into texts; InvalidInput for an id that the tokenizer does not have."""


class ModelServer(Dispatcher, ServiceInfo, Protocol):
    """Answers requests and describes itself: what an application is built over."""
