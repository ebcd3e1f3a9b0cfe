"""Callers who leave while Serve collects their request, which it then admits all the same: their rows never run."""

import asyncio

from deployments.replica import _Call
from trivet.engine.engine import ResultFuture
from trivet.errors import Overloaded
from trivet.messages import EmbedRequest


def future() -> ResultFuture:
    return asyncio.get_running_loop().create_future()


async def test_a_ticket_that_comes_too_late_is_given_back() -> None:
    call, late = _Call(EmbedRequest(("a",))), future()
    call.leave()
    call.admitted(late)
    assert late.cancelled()


async def test_a_ticket_that_was_there_already_is_given_back() -> None:
    call, early = _Call(EmbedRequest(("a",))), future()
    call.admitted(early)
    assert not early.done()
    call.leave()
    assert early.cancelled()


async def test_a_refusal_is_nothing_to_give_back() -> None:
    call = _Call(EmbedRequest(("a",)))
    call.admitted(Overloaded("full", retry_after_s=1))
    call.leave()
    assert call.future is None
