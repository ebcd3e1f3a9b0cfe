"""Small requests that arrive together share a call, and none of them notices the others."""

import asyncio
from collections.abc import Generator
from contextvars import ContextVar
from typing import Any

import numpy as np
import pytest

from deployments.shared_calls import MOST_CHARACTERS, SMALL_CHARACTERS, SharedCalls
from trivet.errors import InvalidInput
from trivet.messages import EmbedRequest, EmbedResult, Priority, StageTimings, Usage

CALLER: ContextVar[str] = ContextVar("CALLER", default="")


def request(text: str, priority: Priority = "interactive") -> EmbedRequest:
    return EmbedRequest((text,), priority=priority)


def result(asked: EmbedRequest) -> EmbedResult:
    size = len(asked.texts[0])
    return EmbedResult(np.zeros((1, size), np.float32), Usage((size,), (1,), (False,)), StageTimings(), "cpu")


class Call:
    """What a handle returns."""

    def __init__(self, outcome: "asyncio.Future[Any]") -> None:
        self.outcome = outcome
        self.is_cancelled = False

    def __await__(self) -> Generator[Any, None, Any]:
        return asyncio.shield(self.outcome).__await__()

    def cancel(self) -> None:
        self.is_cancelled = True


class Replica:
    """Notes each call; answers it when told to."""

    def __init__(self) -> None:
        self.asked: list[tuple[Any, dict[str, Any], str]] = []
        self.calls: list[Call] = []

    def remote(self, asked: Any, **options: Any) -> Call:
        self.asked.append((asked, options, CALLER.get()))
        self.calls.append(Call(asyncio.get_running_loop().create_future()))
        return self.calls[-1]

    def answer(self, number: int = 0) -> None:
        asked = self.asked[number][0]
        self.calls[number].outcome.set_result(list(map(result, asked)) if isinstance(asked, tuple) else result(asked))


@pytest.fixture
def alone() -> Replica:
    return Replica()


@pytest.fixture
def together() -> Replica:
    return Replica()


@pytest.fixture
def calls(alone: Replica, together: Replica) -> SharedCalls:
    return SharedCalls(alone, together)


async def started(
    calls: SharedCalls, *requests: EmbedRequest, replicas: tuple[str, ...] = ()
) -> "list[asyncio.Task[Any]]":
    """Callers who wait for these requests."""
    tasks = [asyncio.create_task(calls.call(one, replicas)) for one in requests]
    await asyncio.sleep(0.01)
    return tasks


async def test_a_single_request_goes_alone_and_in_its_own_context(
    calls: SharedCalls, alone: Replica, together: Replica
) -> None:
    CALLER.set("me")
    [waiting] = await started(calls, request("abc"))
    alone.answer()
    assert (await waiting).vectors.shape == (1, 3)
    assert alone.asked == [(request("abc"), {}, "me")]
    assert together.asked == []


async def test_those_that_arrive_together_share_a_call_that_is_none_of_theirs(
    calls: SharedCalls, alone: Replica, together: Replica
) -> None:
    CALLER.set("me")
    waiting = await started(calls, *map(request, ("a", "bb", "ccc")))
    assert together.asked == [(tuple(map(request, ("a", "bb", "ccc"))), {}, "")]
    together.answer()
    assert [(await one).vectors.shape[1] for one in waiting] == [1, 2, 3]
    assert alone.asked == []


async def test_what_would_make_others_wait_goes_apart(calls: SharedCalls, alone: Replica, together: Replica) -> None:
    long, bulk, short = request("x" * (SMALL_CHARACTERS + 1)), request("b", "bulk"), request("s")
    waiting = await started(calls, short, long, bulk)
    waiting += await started(calls, request("g"), replicas=("first",))
    assert [asked for asked, _, _ in alone.asked] == [long, short, bulk, request("g")]
    assert [options for _, options, _ in alone.asked] == [{}, {}, {}, {"replicas": ("first",)}]
    full = [request("x" * SMALL_CHARACTERS)] * (MOST_CHARACTERS // SMALL_CHARACTERS)
    waiting += await started(calls, *full, request("next"))
    assert [len(asked) for asked, _, _ in together.asked] == [len(full)]
    assert alone.asked[-1][0] == request("next")
    together.answer()
    for number in range(len(alone.calls)):
        alone.answer(number)
    assert [(await one).vectors.shape[1] for one in waiting] == [1, 513, 1, 1, *[512] * 4, 4]


async def test_who_leaves_takes_no_one_with_them(calls: SharedCalls, together: Replica) -> None:
    first, second = await started(calls, request("a"), request("bb"))
    first.cancel()
    await asyncio.sleep(0.01)
    assert not together.calls[0].is_cancelled
    together.answer()
    assert (await second).vectors.shape == (1, 2)


async def test_a_call_ends_with_its_last_caller(calls: SharedCalls, together: Replica) -> None:
    for one in await started(calls, request("a"), request("bb")):
        one.cancel()
    await asyncio.sleep(0.01)
    assert together.calls[0].is_cancelled


async def test_who_leaves_at_once_is_not_sent(calls: SharedCalls, alone: Replica, together: Replica) -> None:
    waiting = asyncio.create_task(calls.call(request("a")))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.sleep(0.01)
    assert alone.calls + together.calls == []


async def test_a_refusal_is_the_answer_of_one_request(calls: SharedCalls, together: Replica) -> None:
    first, second = await started(calls, request("a"), request("bb"))
    refused = InvalidInput("no", field="input")
    together.calls[0].outcome.set_result([refused, result(request("bb"))])
    assert await first is refused
    assert (await second).vectors.shape == (1, 2)


async def test_a_call_that_fails_fails_for_all_who_can_try_again(calls: SharedCalls, together: Replica) -> None:
    waiting = await started(calls, request("a"), request("bb"))
    together.calls[0].outcome.set_exception(ConnectionError("lost"))
    for one in waiting:
        with pytest.raises(ConnectionError):
            await one


async def test_a_call_that_serve_cancels_leaves_no_one_waiting(calls: SharedCalls, together: Replica) -> None:
    waiting = await started(calls, request("a"), request("bb"))
    together.calls[0].outcome.cancel()
    for one in waiting:
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(one, 1)


async def test_without_sharing_every_request_is_a_call(alone: Replica, together: Replica) -> None:
    waiting = await started(SharedCalls(alone, together, sharing=False), request("a"), request("bb"))
    assert len(alone.calls) == 2
    for one in waiting:
        one.cancel()
    await asyncio.sleep(0.01)
    assert all(call.is_cancelled for call in alone.calls)
