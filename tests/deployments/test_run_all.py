"""A replica answers requests that share a call, each for itself."""

import asyncio
from collections.abc import Sequence

import numpy as np
import pytest

from deployments.embedder import Embedder
from trivet.engine.engine import ResultFuture
from trivet.errors import EngineError, GpuUnavailable, InvalidInput, TrivetError
from trivet.messages import EmbedRequest, EmbedResult, EngineRequest, StageTimings, Usage

RESULT = EmbedResult(np.zeros((1, 2), np.float32), Usage((1,), (1,), (False,)), StageTimings(), "cpu")
REQUESTS = [EmbedRequest((text,)) for text in "abcd"]


class Engine:
    """Admits requests as it was told to."""

    def __init__(self, admitted: "list[ResultFuture | TrivetError]") -> None:
        self._admitted = admitted

    async def admit(self, requests: Sequence[EngineRequest]) -> "list[ResultFuture | TrivetError]":
        return self._admitted


class Replica(Embedder):
    """One that Serve did not start, and does not end."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine  # type: ignore[assignment]
        self._gpu = None

    def __del__(self) -> None:  # type: ignore[override]
        """Nothing was started."""


def replica(admitted: "list[ResultFuture | TrivetError]") -> Replica:
    return Replica(Engine(admitted))


def future(outcome: object = None) -> ResultFuture:
    made: ResultFuture = asyncio.get_running_loop().create_future()
    if isinstance(outcome, Exception):
        made.set_exception(outcome)
    elif outcome is not None:
        made.set_result(RESULT)
    return made


async def test_an_error_is_in_the_place_of_its_request_and_a_bug_fails_no_other() -> None:
    refused = InvalidInput("no", field="input")
    full = GpuUnavailable("too full")
    replies = await replica([refused, future(ValueError("bug")), future(full), future(RESULT)]).run_all(REQUESTS)
    assert replies[0] is refused
    assert isinstance(replies[1], EngineError)
    assert replies[1].message == "the request failed: ValueError: bug"
    assert isinstance(replies[2], GpuUnavailable)
    assert replies[3] is RESULT


async def test_a_call_that_is_cancelled_withdraws_all_its_requests() -> None:
    waiting = [future(), future()]
    call = asyncio.create_task(replica(list(waiting)).run_all(REQUESTS[:2]))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert all(one.cancelled() for one in waiting)
