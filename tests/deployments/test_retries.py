"""Work of a lost replica is sent again for a while; then the caller gets a 503 with Retry-After."""

import asyncio
from collections.abc import Generator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from ray.exceptions import ActorDiedError, ActorUnavailableError
from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError

from deployments.dispatcher import RayDispatcher
from trivet.config import AppConfig
from trivet.errors import Overloaded, Unavailable
from trivet.messages import EmbedRequest, EmbedResult, StageTimings, Usage
from trivet.metrics import NO_METRICS

REQUEST = EmbedRequest(("a",))
RESULT = EmbedResult(np.zeros((1, 2), dtype=np.float32), Usage((1,), (1,), (False,)), StageTimings(), "cpu")


class Response:
    """What a handle returns: to be awaited, or taken back."""

    def __init__(self, outcome: object, *, never: bool = False) -> None:
        self._outcome = outcome
        self._never = never
        self.cancelled = False

    def __await__(self) -> Generator[Any, None, object]:
        if self._never:
            yield from asyncio.get_running_loop().create_future()
        if isinstance(self._outcome, Exception):
            raise self._outcome
        return self._outcome
        yield  # makes it a generator, also where nothing waits

    def cancel(self) -> None:
        self.cancelled = True


class Handle:
    """Answers each call with the next of its outcomes, the last for ever."""

    def __init__(self, *outcomes: object) -> None:
        self._outcomes = list(outcomes)
        self.calls = 0
        self.run = self.run_all = SimpleNamespace(remote=self._call)

    def _call(self, request: EmbedRequest) -> Response:
        assert request is REQUEST
        self.calls += 1
        return Response(self._outcomes.pop(0) if len(self._outcomes) > 1 else self._outcomes[0])


def dispatcher(handle: object, retry_s: float = 30.0) -> RayDispatcher:
    config = AppConfig.model_validate({"device": "cpu", "serving": {"retry_s": retry_s}})
    return RayDispatcher({"embedder": {"cpu": handle}}, None, config, NO_METRICS)  # type: ignore[dict-item]


LOST = [
    ActorDiedError(),
    ActorUnavailableError("unavailable", b"0" * 16),
    DeploymentUnavailableError(SimpleNamespace(name="embedder-cpu", app_name="trivet")),  # type: ignore[arg-type]
]


@pytest.mark.slow
@pytest.mark.parametrize("error", LOST, ids=lambda error: type(error).__name__)
async def test_work_of_a_lost_replica_is_sent_again(error: Exception) -> None:
    handle = Handle(error, error, RESULT)
    routed = await dispatcher(handle).call(REQUEST)
    assert routed.result is RESULT
    assert handle.calls == 3


@pytest.mark.slow
async def test_exhausted_retries_are_503_with_retry_after() -> None:
    handle = Handle(ActorDiedError())
    with pytest.raises(Unavailable) as raised:
        await dispatcher(handle, retry_s=0.3).call(REQUEST)
    assert handle.calls > 1
    assert raised.value.retry_after_s >= 1


async def test_a_full_replica_is_not_asked_again() -> None:
    handle = Handle(BackPressureError(num_queued_requests=1, max_queued_requests=1))
    with pytest.raises(Overloaded) as raised:
        await dispatcher(handle).call(REQUEST)
    assert handle.calls == 1
    assert raised.value.retry_after_s >= 1


@pytest.mark.slow
async def test_a_callers_deadline_ends_the_retries() -> None:
    handle = Handle(ActorDiedError())
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.5):
            await dispatcher(handle).call(REQUEST)
    calls = handle.calls
    await asyncio.sleep(0.5)
    assert handle.calls == calls


async def test_a_cancelled_caller_cancels_the_call() -> None:
    response = Response(None, never=True)
    method = SimpleNamespace(remote=lambda _: response)
    handle = SimpleNamespace(run=method, run_all=method)
    waiting = asyncio.ensure_future(dispatcher(handle).call(REQUEST))
    await asyncio.sleep(0.05)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    await asyncio.sleep(0.01)
    assert response.cancelled
