"""The seam between HTTP and whatever answers: routes call this protocol and nothing else."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from trivet.config import Lane
from trivet.dispatch.status import ServiceStatus
from trivet.messages import (
    ClassifyRequest,
    ClassifyResult,
    EmbedRequest,
    EmbedResult,
    Health,
    ModelCard,
    PredictRequest,
    PredictResult,
    RerankRequest,
    RerankResult,
    TokenizeRequest,
    TokenizeResult,
)

ResultT = TypeVar("ResultT", covariant=True)


@dataclass(frozen=True, slots=True)
class CacheUse:
    """How many of a call's inputs were answered from results kept earlier."""

    hits: int
    inputs: int


@dataclass(frozen=True, slots=True)
class Routed(Generic[ResultT]):
    """A result and the way it took."""

    result: ResultT
    lane: Lane
    reroute_reason: str | None = None
    """Why the CPU answered although this model has a GPU lane; None where it has none or the GPU answered."""
    cache: CacheUse | None = None
    """None where no cache was asked."""


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
    """Answers engine requests. Raises errors of `trivet.errors`; a rerouted request is an answer, not an error."""

    async def embed(self, request: EmbedRequest) -> Routed[EmbedResult]:
        """Embed texts."""

    async def rerank(self, request: RerankRequest) -> Routed[RerankResult]:
        """Score documents against a query."""

    async def classify(self, request: ClassifyRequest) -> Routed[ClassifyResult]:
        """Score hypotheses about premises."""

    async def predict(self, request: PredictRequest) -> Routed[PredictResult]:
        """Score the classifier's own classes."""

    async def tokenize(self, request: TokenizeRequest) -> TokenizeResult:
        """Show texts as tokens; needs a tokenizer and no device."""

    async def readiness(self) -> Readiness:
        """Ask every bound lane of every model whether it is ready."""

    async def models(self) -> Sequence[ModelCard]:
        """The models served: embedder, reranker, classifier. Asked for every request: keep it cheap."""

    def status(self) -> ServiceStatus:
        """Cards and lanes as this process knows them already: no call leaves it."""
