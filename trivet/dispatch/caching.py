"""A dispatcher that computes each input once: from the cache, by joining a call in flight, or by a call for the rest.

An answer from the cache differs from a computed one only in its timings and in the count of hits that it carries. Where
callers are distinguished by keys, what one caller computed is not shown to another.

One caller's cancellation of a call in flight does not affect the others; the last one cancels the call. An error goes
only to the caller that started the call, since it may be about another of that caller's inputs. Callers that joined get
None and start a call themselves.
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Sequence
from contextlib import ExitStack
from contextvars import Context, ContextVar
from dataclasses import dataclass, field
from types import TracebackType
from typing import Generic, Self, TypeVar

from trivet.cache.adapters import Adapter, adapter_of, input_keys, model_fields
from trivet.cache.entry import Entry
from trivet.cache.store import ResultStore
from trivet.config import Task
from trivet.dispatch.protocol import CacheUse, Dispatcher, Routed, ServiceInfo
from trivet.dispatch.traffic import begin_call_log, current_call_log
from trivet.errors import Unavailable, remap_field_index
from trivet.messages import EngineResult, ModelCard, Priority, Request, ResultT, StageTimings
from trivet.metrics import CACHE_LOOKUPS, MetricsSink

T = TypeVar("T")

_caller: ContextVar[str | None] = ContextVar("trivet_caller", default=None)
"""Whom a request is for; None where no keys are configured."""


def begin_caller(name: str) -> None:
    """Set the caller of this task and of those it starts: the name of the key that was shown."""
    _caller.set(name)


@dataclass(frozen=True, slots=True)
class Computed:
    """The outcome of one call: an entry per key, and the answer they are from."""

    entries: dict[bytes, Entry]
    routed: Routed[EngineResult]


@dataclass(slots=True)
class PartialResult:
    """The entries of one request so far, and the calls behind those that were not in the cache."""

    entries: dict[bytes, Entry]
    hits: int
    calls: list[Routed[EngineResult]] = field(default_factory=list)

    def add(self, computed: Computed) -> None:
        """Take over the outcome of a call."""
        self.entries |= computed.entries
        self.calls.append(computed.routed)


@dataclass(frozen=True, slots=True)
class CachedCall(Generic[ResultT]):
    """A request with the keys of its inputs."""

    adapter: Adapter[Request[ResultT], ResultT]
    request: Request[ResultT]
    card: ModelCard
    keys: list[bytes]

    def positions(self, wanted: Sequence[bytes]) -> list[int]:
        """Return the first position of each of the keys, in order."""
        first: dict[bytes, int] = {}
        for index, key in enumerate(self.keys):
            first.setdefault(key, index)
        return [first[key] for key in wanted]

    def request_for(self, wanted: Sequence[bytes]) -> Request[ResultT]:
        """Return the request for the inputs of some of the keys only."""
        positions = self.positions(wanted)
        whole = positions == list(range(len(self.keys)))
        return self.request if whole else self.adapter.subset(self.request, positions)

    def join(self, partial: PartialResult) -> Routed[ResultT]:
        """Make the whole answer. Timings, lane and reroute are those of its first call, or of the cached results."""
        entries = [partial.entries[key] for key in self.keys]
        first = partial.calls[0] if partial.calls else None
        timings = first.result.timings if first is not None else StageTimings()
        return Routed(
            self.adapter.join(entries, self.card, timings),
            first.lane if first is not None else entries[0].lane,
            first.reroute_reason if first is not None else None,
            CacheUse(partial.hits, len(entries)),
        )


class CachingDispatcher:
    """A `trivet.dispatch.protocol.Dispatcher` that caches the results of another one."""

    def __init__(
        self, inner: Dispatcher, info: ServiceInfo, results: ResultStore, computed_with: str, sink: MetricsSink
    ) -> None:
        """Cache by `computed_with`, the settings that results depend on besides the model's card."""
        self._inner = inner
        self._info = info
        self._results = results
        self._computed_with = computed_with
        self._sink = sink
        self._in_flight: InFlightCalls[Computed] = InFlightCalls()

    async def call(self, request: Request[ResultT]) -> Routed[ResultT]:
        """Answer from the cache what it holds, and keep the rest there; neither for a request with `no_store`."""
        if request.no_store:
            return await self._inner.call(request)
        card = await self._card(request.task)
        adapter = adapter_of(request)
        # Each key has results to itself: a hit, or merely a quick answer, would show what another caller has sent.
        shared = (*model_fields(card, self._computed_with), _caller.get(), *adapter.shared(request))
        cached = CachedCall(adapter, request, card, input_keys(shared, adapter.inputs(request)))
        found = await self._results.get(cached.keys)
        partial = PartialResult(found, hits=sum(key in found for key in cached.keys))
        await self._complete(cached, partial)
        return cached.join(partial)

    async def _complete(self, cached: CachedCall[ResultT], partial: PartialResult) -> None:
        """Add what is missing: join calls in flight, start one for the rest, wait for all of them."""
        priority = cached.request.priority
        missing = [key for key in dict.fromkeys(cached.keys) if key not in partial.entries]
        # No `await` from here until every key has its call in flight, or two requests would start the same one.
        joined = self._in_flight.find(missing, priority)
        new = [key for key in missing if key not in joined]
        self._count(cached.request.task, hits=partial.hits, misses=len(new), inputs=len(cached.keys))
        with ExitStack() as waiting:
            for in_flight in set(joined.values()):
                waiting.enter_context(in_flight)
            if new:
                computing = self._in_flight.start(new, priority, self._compute(cached, new), _detached_context())
                waiting.enter_context(computing)
                with remap_field_index(cached.positions(new)):
                    partial.add(await computing.result())
            for in_flight in set(joined.values()):
                if (result := await in_flight.result_or_none()) is not None:
                    partial.add(result)
        lost = [key for key in joined if key not in partial.entries]
        if lost:
            with remap_field_index(cached.positions(lost)):
                partial.add(await self._compute(cached, lost))

    async def _compute(self, cached: CachedCall[ResultT], keys: Sequence[bytes]) -> Computed:
        """Call the inner dispatcher for some of the keys, and keep the results."""
        routed = await self._inner.call(cached.request_for(keys))
        entries = dict(zip(keys, cached.adapter.entries(routed.result, routed.lane), strict=True))
        await self._results.put(entries)
        return Computed(entries, routed)

    def _count(self, task: Task, *, hits: int, misses: int, inputs: int) -> None:
        shared = inputs - hits - misses
        for result, count in (("hit", hits), ("miss", misses), ("shared", shared)):
            if count:
                self._sink.count(CACHE_LOOKUPS, {"model": task, "result": result}, count)

    async def _card(self, task: Task) -> ModelCard:
        for card in await self._info.models():
            if card.task == task:
                return card
        raise Unavailable(f"no {task} is served")


def _detached_context() -> Context:
    """Return the context of a call that may outlive its request: empty except for the call log.

    Servers, Ray among them, tie calls to requests by context variables, and end the one with the other.
    """
    context = Context()
    log = current_call_log()
    if log is not None:
        context.run(begin_call_log, log)
    return context


_JOINABLE: dict[Priority, tuple[Priority, ...]] = {"interactive": ("interactive",), "bulk": ("interactive", "bulk")}
"""Priorities of the calls that a request may join: an interactive one does not wait for a bulk call."""


class InFlightCall(Generic[T]):
    """One call. Wait for it inside `with call:` only."""

    def __init__(self, work: Coroutine[None, None, T], context: Context, forget: Callable[[], None]) -> None:
        self._task = asyncio.get_running_loop().create_task(work, context=context)
        self._task.add_done_callback(self._on_done)
        self._forget = forget
        self._waiting = 0

    def __enter__(self) -> Self:
        self._waiting += 1
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._waiting -= 1
        if not self._waiting and not self._task.done():
            self._forget()  # before the task ends, so that no request joins a call that is being cancelled
            self._task.cancel()

    def _on_done(self, task: "asyncio.Task[T]") -> None:
        self._forget()
        if not task.cancelled():
            task.exception()  # mark it as retrieved: the caller that started the call may have left

    async def result(self) -> T:
        """Return the result of the call, or raise its error: for the caller that started it."""
        await asyncio.wait([self._task])
        if self._task.cancelled():  # not by a caller, since one still waits here
            raise Unavailable("the lane that ran the call cancelled it")
        return self._task.result()

    async def result_or_none(self) -> T | None:
        """Return the result of the call, or None if it failed: for callers that joined."""
        await asyncio.wait([self._task])
        if self._task.cancelled() or self._task.exception() is not None:
            return None
        return self._task.result()


class InFlightCalls(Generic[T]):
    """All calls in flight of one event loop."""

    def __init__(self) -> None:
        self._in_flight: dict[tuple[Priority, bytes], InFlightCall[T]] = {}

    def __len__(self) -> int:
        return len(self._in_flight)

    def find(self, keys: Iterable[bytes], priority: Priority) -> dict[bytes, InFlightCall[T]]:
        """Find the calls that compute some of the keys and that a request of this priority may join."""
        found: dict[bytes, InFlightCall[T]] = {}
        for key in keys:
            for joinable in _JOINABLE[priority]:
                in_flight = self._in_flight.get((joinable, key))
                if in_flight is not None:
                    found[key] = in_flight
                    break
        return found

    def start(
        self, keys: Iterable[bytes], priority: Priority, work: Coroutine[None, None, T], context: Context
    ) -> InFlightCall[T]:
        """Run `work`, which computes the keys, in a new task with this context."""
        slots = [(priority, key) for key in keys]

        def forget() -> None:
            for slot in slots:
                if self._in_flight.get(slot) is in_flight:
                    del self._in_flight[slot]

        in_flight = InFlightCall(work, context, forget)
        self._in_flight.update(dict.fromkeys(slots, in_flight))
        return in_flight
