"""Callers that leave while Serve assembles the batch with their request: their sequences never run."""

import asyncio

from deployments.replica import _Call
from trivet.engine.engine import ResultFuture
from trivet.errors import Overloaded
from trivet.messages import EmbedRequest


def future() -> ResultFuture:
    return asyncio.get_running_loop().create_future()


async def test_a_future_admitted_after_the_caller_left_is_cancelled() -> None:
    call, late = _Call(EmbedRequest(("a",))), future()
    call.leave()
    call.admitted(late)
    assert late.cancelled()


async def test_a_future_admitted_before_the_caller_left_is_cancelled() -> None:
    call, early = _Call(EmbedRequest(("a",))), future()
    call.admitted(early)
    assert not early.done()
    call.leave()
    assert early.cancelled()


async def test_a_refusal_leaves_nothing_to_cancel() -> None:
    call = _Call(EmbedRequest(("a",)))
    call.admitted(Overloaded("full", retry_after_s=1))
    call.leave()
    assert call.future is None
