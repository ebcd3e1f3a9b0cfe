"""The caching dispatcher: its answers equal the plain ones, and equal inputs are computed once."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.dispatcher import TIMINGS, WINDOW_CHARACTERS, FakeDispatcher, inputs_of
from tests.support.gated import GatedDispatcher
from tests.support.memory_sink import MemorySink
from trivet.cache.store import MemoryStore, ResultStore
from trivet.dispatch.caching import CachingDispatcher
from trivet.dispatch.protocol import CacheUse, Dispatcher, ModelServer, Routed
from trivet.errors import InputTooLong, InvalidInput, Overloaded, Unavailable
from trivet.messages import (
    ClassifyRequest,
    EmbedRequest,
    EngineRequest,
    EngineResult,
    PairText,
    PredictRequest,
    Request,
    RerankRequest,
    ResultT,
    StageTimings,
)
from trivet.metrics import CACHE_LOOKUPS

MIB = 1024**2


class Cached(CachingDispatcher):
    """A dispatcher with a new memory."""

    def __init__(self, inner: ModelServer, limit_bytes: int = MIB) -> None:
        self.sink = MemorySink()
        super().__init__(inner, inner, ResultStore(MemoryStore(limit_bytes)), "", self.sink)

    def lookups(self, model: str) -> dict[str, float]:
        return {
            result: self.sink.value(CACHE_LOOKUPS, model=model, result=result) for result in ("hit", "miss", "shared")
        }


Make = Callable[[Sequence[str]], EngineRequest]
KINDS: dict[str, Make] = {
    "embed": lambda texts: EmbedRequest(tuple(texts), dimensions=8),
    "rerank": lambda texts: RerankRequest("a b", tuple(texts)),
    "classify": lambda texts: ClassifyRequest(tuple(PairText(t) for t in texts), {"x": "a", "y": "b", "z": "c"}),
    "predict": lambda texts: PredictRequest(tuple(PairText(t, "a c") for t in texts)),
}


def ask(dispatcher: Dispatcher, kind: str, texts: Sequence[str]) -> Awaitable[Routed[EngineResult]]:
    return dispatcher.call(KINDS[kind](texts))


def assert_same(one: EngineResult, other: EngineResult) -> None:
    """Equal to the last bit, except for the timings."""
    assert type(one) is type(other)
    for name in type(one).__slots__:  # type: ignore[attr-defined]
        if name == "timings":
            continue
        left, right = getattr(one, name), getattr(other, name)
        if isinstance(left, np.ndarray):
            np.testing.assert_array_equal(left, right)
            assert left.dtype == right.dtype
        else:
            assert left == right


words = st.sampled_from(["a", "b", "a b", "c d e", "b c", "x" * 2500])
requests = st.lists(st.lists(words, min_size=1, max_size=6), min_size=1, max_size=5)


@given(st.sampled_from(sorted(KINDS)), requests, st.sampled_from([0, 2000, MIB]))
async def test_any_mixture_of_hits_and_misses_is_the_plain_answer(
    kind: str, asked: list[list[str]], limit_bytes: int
) -> None:
    inner = FakeDispatcher()
    cached = Cached(inner, limit_bytes)
    known: set[str] = set()
    for texts in asked:
        inner.requests.clear()
        answer = await ask(cached, kind, texts)
        assert_same(answer.result, (await ask(FakeDispatcher(), kind, texts)).result)
        if limit_bytes == MIB:
            expected = [text for text in dict.fromkeys(texts) if text not in known]
            assert [inputs_of(request) for request in inner.requests] == ([expected] if expected else [])
            assert answer.cache == CacheUse(sum(text in known for text in texts), len(texts))
            assert answer.result.timings == (TIMINGS if expected else StageTimings())
        known |= set(texts)


@pytest.mark.slow
@given(st.lists(st.tuples(st.sampled_from(["interactive", "bulk"]), st.lists(words, min_size=1)), min_size=1))
async def test_inputs_requested_at_the_same_time_run_once(asked: list[tuple[Any, list[str]]]) -> None:
    inner = GatedDispatcher()
    cached = Cached(inner)
    calls = [
        asyncio.ensure_future(cached.call(EmbedRequest(tuple(texts), priority=priority))) for priority, texts in asked
    ]
    await inner.entered.wait()
    inner.gate.set()
    answers = await asyncio.gather(*calls)
    for (_, texts), answer in zip(asked, answers, strict=True):
        assert_same(answer.result, (await FakeDispatcher().call(EmbedRequest(tuple(texts)))).result)
    for priority in ("interactive", "bulk"):
        computed = [t for r in inner.requests if r.priority == priority for t in inputs_of(r)]
        assert len(computed) == len(set(computed))
    assert not cached._in_flight


async def test_an_interactive_request_does_not_join_a_bulk_call() -> None:
    inner = GatedDispatcher()
    cached = Cached(inner)
    bulk = asyncio.ensure_future(cached.call(EmbedRequest(("a",), priority="bulk")))
    await inner.entered.wait()
    inner.entered.clear()
    interactive = asyncio.ensure_future(cached.call(EmbedRequest(("a",))))
    await inner.entered.wait()  # a second call
    later = asyncio.ensure_future(cached.call(EmbedRequest(("a",), priority="bulk")))
    inner.gate.set()
    await asyncio.gather(bulk, interactive, later)
    assert [request.priority for request in inner.requests] == ["bulk", "interactive"]


async def test_one_callers_cancellation_does_not_affect_the_others() -> None:
    inner = GatedDispatcher()
    cached = Cached(inner)
    first = asyncio.ensure_future(cached.call(EmbedRequest(("a", "b"))))
    await inner.entered.wait()
    second = asyncio.ensure_future(cached.call(EmbedRequest(("b", "a", "b"))))
    await asyncio.sleep(0)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    inner.gate.set()
    assert (await second).result.usage.input_tokens == (1, 1, 1)
    assert (len(inner.requests), inner.cancelled) == (1, [])


async def test_the_last_caller_to_leave_cancels_the_call() -> None:
    inner = GatedDispatcher()
    cached = Cached(inner)
    waiting = [asyncio.ensure_future(cached.call(EmbedRequest(("a", "b")))) for _ in range(3)]
    await inner.entered.wait()
    for one in waiting:
        one.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    assert not cached._in_flight  # a call that is being cancelled cannot be joined
    inner.gate.set()
    again = await cached.call(EmbedRequest(("a",)))
    assert [len(request.texts) for request in inner.cancelled] == [2]
    assert [inputs_of(request) for request in inner.requests] == [["a"]]
    assert again.cache == CacheUse(0, 1)


class FailsWhole(GatedDispatcher):
    """Refuses requests that hold `bad`."""

    async def call(self, request: Request[ResultT]) -> Routed[ResultT]:
        answer = await super().call(request)
        if "bad" in inputs_of(request):
            raise InvalidInput("no", field="input", index=inputs_of(request).index("bad"))
        return answer


async def test_an_error_goes_only_to_the_caller_that_started_the_call() -> None:
    inner = FailsWhole()
    cached = Cached(inner)
    failing = asyncio.ensure_future(cached.call(EmbedRequest(("a", "b", "bad"))))
    await inner.entered.wait()
    joining = asyncio.ensure_future(cached.call(EmbedRequest(("c", "b", "a"))))
    await asyncio.sleep(0)
    inner.gate.set()
    with pytest.raises(InvalidInput):
        await failing
    answer = await joining
    assert_same(answer.result, (await FakeDispatcher().call(EmbedRequest(("c", "b", "a")))).result)
    assert sorted(inputs_of(request) for request in inner.requests) == [["a", "b", "bad"], ["b", "a"], ["c"]]


async def test_an_error_is_not_cached() -> None:
    inner = FakeDispatcher(error=Overloaded("full", retry_after_s=3))
    cached = Cached(inner)
    with pytest.raises(Overloaded):
        await cached.call(EmbedRequest(("a",)))
    inner.error = None
    assert (await cached.call(EmbedRequest(("a",)))).cache == CacheUse(0, 1)
    assert (await cached.call(EmbedRequest(("a",)))).cache == CacheUse(1, 1)


async def test_errors_name_the_callers_position() -> None:
    long = "x" * (WINDOW_CHARACTERS + 1)
    cached = Cached(FakeDispatcher())
    await cached.call(EmbedRequest(("a", "b"), long_input="error"))
    with pytest.raises(InputTooLong) as refused:
        await cached.call(EmbedRequest(("a", "b", long, "a"), long_input="error"))
    assert refused.value.param == "input[2]"


class GivesUp(FakeDispatcher):
    async def call(self, request: Request[ResultT]) -> Routed[ResultT]:
        raise asyncio.CancelledError


async def test_a_call_that_cancels_itself_is_an_error_and_no_cancellation() -> None:
    with pytest.raises(Unavailable):
        await Cached(GivesUp()).call(EmbedRequest(("a",)))


async def test_hits_name_the_device_that_computed_them_and_no_former_reroute() -> None:
    inner = FakeDispatcher(reroute_reason="250 MiB free")
    cached = Cached(inner)
    computed = await cached.call(EmbedRequest(("a",)))
    kept = await cached.call(EmbedRequest(("a",)))
    assert (computed.reroute_reason, kept.reroute_reason) == ("250 MiB free", None)
    assert (kept.lane, kept.result.device) == (computed.lane, computed.result.device)


async def test_lookups_are_counted_by_model() -> None:
    cached = Cached(FakeDispatcher())
    await cached.call(EmbedRequest(("a", "b", "a")))
    await cached.call(EmbedRequest(("a", "c")))
    await cached.call(RerankRequest("a", ("a", "b")))
    assert cached.lookups("embedder") == {"hit": 1, "miss": 3, "shared": 1}
    assert cached.lookups("reranker") == {"hit": 0, "miss": 2, "shared": 0}


async def test_the_same_text_in_another_request_is_another_input() -> None:
    cached = Cached(FakeDispatcher())
    await cached.call(RerankRequest("a", ("d",)))
    assert (await cached.call(RerankRequest("b", ("d",)))).cache == CacheUse(0, 1)
    request = EmbedRequest(("d",))
    await cached.call(request)
    assert (await cached.call(replace(request, dimensions=4))).cache == CacheUse(0, 1)
