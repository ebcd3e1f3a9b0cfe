"""A dispatcher that computes an input once: it answers what is kept, joins what is in progress, sends on the rest.

Who asks cannot tell the answer from a computed one, but for its times, and the count of hits that it carries.
"""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import ExitStack
from contextvars import Context
from dataclasses import dataclass, field
from typing import Generic

from trivet.api.middleware.cache_control import storing_is_refused
from trivet.api.request_context import begin_record, current_record
from trivet.cache.adapters import (
    ClassifyParts,
    EmbedParts,
    Parts,
    PredictParts,
    RequestT,
    RerankParts,
    ResultT,
)
from trivet.cache.entry import Entry
from trivet.cache.keys import input_keys, model_fields
from trivet.cache.store import Results
from trivet.config import Task
from trivet.dispatch.coalescing import InFlightCalls
from trivet.dispatch.field_index import told_by_position
from trivet.dispatch.protocol import CacheUse, Dispatcher, Readiness, Routed
from trivet.dispatch.status import ServiceStatus
from trivet.errors import Unavailable
from trivet.messages import (
    ClassifyRequest,
    ClassifyResult,
    EmbedRequest,
    EmbedResult,
    EngineResult,
    ModelCard,
    PredictRequest,
    PredictResult,
    RerankRequest,
    RerankResult,
    StageTimings,
    TokenizeRequest,
    TokenizeResult,
)
from trivet.metrics import CACHE_LOOKUPS, MetricsSink

_EMBED, _RERANK, _CLASSIFY, _PREDICT = EmbedParts(), RerankParts(), ClassifyParts(), PredictParts()


@dataclass(frozen=True, slots=True)
class Computed:
    """What one call came to: an entry per key, and how it went."""

    entries: dict[bytes, Entry]
    routed: Routed[EngineResult]


@dataclass(slots=True)
class _Gathering:
    """Entries of one request as they come in, and the calls behind those that were not kept."""

    entries: dict[bytes, Entry]
    hits: int
    calls: list[Routed[EngineResult]] = field(default_factory=list)

    def add(self, computed: Computed) -> None:
        self.entries |= computed.entries
        self.calls.append(computed.routed)


@dataclass(frozen=True, slots=True)
class _Asked(Generic[RequestT, ResultT]):
    """One request with all that it takes to answer a part of it."""

    parts: Parts[RequestT, ResultT]
    request: RequestT
    call: Callable[[RequestT], Awaitable[Routed[ResultT]]]
    card: ModelCard
    keys: list[bytes]

    def positions(self, wanted: Sequence[bytes]) -> list[int]:
        """The first position of each of the keys, in order."""
        first: dict[bytes, int] = {}
        for index, key in enumerate(self.keys):
            first.setdefault(key, index)
        return [first[key] for key in wanted]

    async def compute(self, wanted: Sequence[bytes]) -> tuple[dict[bytes, Entry], Routed[ResultT]]:
        """One call for some of the keys."""
        positions = self.positions(wanted)
        whole = positions == list(range(len(self.keys)))
        routed = await self.call(self.request if whole else self.parts.only(self.request, positions))
        entries = self.parts.entries(routed.result, routed.lane)
        return dict(zip(wanted, entries, strict=True)), routed


class CachedDispatcher:
    """A `trivet.dispatch.protocol.Dispatcher` around another."""

    def __init__(self, inner: Dispatcher, results: Results, computed_with: str, sink: MetricsSink) -> None:
        """`computed_with`: the settings that results depend on besides the model's card."""
        self._inner = inner
        self._results = results
        self._computed_with = computed_with
        self._sink = sink
        self._in_flight: InFlightCalls[Computed] = InFlightCalls()

    async def embed(self, request: EmbedRequest) -> Routed[EmbedResult]:
        """Embed texts."""
        return await self._answer("embedder", _EMBED, request, self._inner.embed)

    async def rerank(self, request: RerankRequest) -> Routed[RerankResult]:
        """Score documents against a query."""
        return await self._answer("reranker", _RERANK, request, self._inner.rerank)

    async def classify(self, request: ClassifyRequest) -> Routed[ClassifyResult]:
        """Score hypotheses about premises."""
        return await self._answer("classifier", _CLASSIFY, request, self._inner.classify)

    async def predict(self, request: PredictRequest) -> Routed[PredictResult]:
        """Score the classifier's own classes."""
        return await self._answer("classifier", _PREDICT, request, self._inner.predict)

    async def tokenize(self, request: TokenizeRequest) -> TokenizeResult:
        """Show texts as tokens; not kept."""
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

    async def _answer(
        self,
        task: Task,
        parts: Parts[RequestT, ResultT],
        request: RequestT,
        call: Callable[[RequestT], Awaitable[Routed[ResultT]]],
    ) -> Routed[ResultT]:
        if storing_is_refused():
            return await call(request)
        card: ModelCard = await self._card(task)
        fields = (*model_fields(card, self._computed_with), *parts.shared(request))
        asked = _Asked(parts, request, call, card, input_keys(fields, parts.inputs(request)))
        found = await self._results.get(asked.keys)
        gathering = _Gathering(found, hits=sum(key in found for key in asked.keys))
        await self._gather(task, asked, gathering)
        return _joined(asked, gathering)

    async def _gather(self, task: Task, asked: _Asked[RequestT, ResultT], gathering: _Gathering) -> None:
        """Bring in what is missing: join others' calls, start one for the rest, wait for all of them."""
        missing = [key for key in dict.fromkeys(asked.keys) if key not in gathering.entries]
        # No `await` from here until every key has its call in flight, or two requests would start the same one.
        joined = self._in_flight.find(missing, asked.request.priority)
        own = [key for key in missing if key not in joined]
        self._count(task, hits=gathering.hits, misses=len(own), inputs=len(asked.keys))
        with ExitStack() as waiting:
            for in_flight in set(joined.values()):
                waiting.enter_context(in_flight)
            if own:
                computing = self._in_flight.start(own, asked.request.priority, self._compute(asked, own), _context())
                waiting.enter_context(computing)
                with told_by_position(asked.positions(own)):
                    gathering.add(await computing.result())
            for in_flight in set(joined.values()):
                if (result := await in_flight.result_or_none()) is not None:
                    gathering.add(result)
        lost = [key for key in joined if key not in gathering.entries]
        if lost:
            with told_by_position(asked.positions(lost)):
                gathering.add(await self._compute(asked, lost))

    async def _compute(self, asked: _Asked[RequestT, ResultT], keys: Sequence[bytes]) -> Computed:
        entries, routed = await asked.compute(keys)
        self._results.put(entries)
        return Computed(entries, routed)

    def _count(self, task: Task, *, hits: int, misses: int, inputs: int) -> None:
        shared = inputs - hits - misses
        for result, count in (("hit", hits), ("miss", misses), ("shared", shared)):
            if count:
                self._sink.count(CACHE_LOOKUPS, {"model": task, "result": result}, count)

    async def _card(self, task: Task) -> ModelCard:
        for card in await self._inner.models():
            if card.task == task:
                return card
        raise Unavailable(f"no {task} is served")


def _joined(asked: _Asked[RequestT, ResultT], gathering: _Gathering) -> Routed[ResultT]:
    """The answer: stages and way of the first call that ran for it; of the kept results where none did."""
    entries = [gathering.entries[key] for key in asked.keys]
    first = gathering.calls[0] if gathering.calls else None
    timings = first.result.timings if first is not None else StageTimings()
    return Routed(
        asked.parts.joined(entries, asked.card, timings),
        first.lane if first is not None else entries[0].lane,
        first.reroute_reason if first is not None else None,
        CacheUse(gathering.hits, len(entries)),
    )


def _context() -> Context:
    """For a call that may outlive the request which started it: an empty one, but for the record it is counted in.

    Servers tie calls to requests by context variables, Ray among them, and end the one with the other.
    """
    context = Context()
    record = current_record()
    if record is not None:
        context.run(begin_record, record)
    return context
