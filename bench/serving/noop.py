"""An engine that answers at once, to measure the path to it: HTTP, the ingress, the call, the replica."""

import asyncio
from collections.abc import Sequence
from typing import Self

import numpy as np

from trivet.config import TASKS, AppConfig, Task
from trivet.dispatch.local import LocalDispatcher
from trivet.engine.backend import OneStep
from trivet.engine.batch.layout import PADDED
from trivet.engine.batch.token_batch import TokenBatch
from trivet.engine.engine import Engine, ResultFuture
from trivet.engine.open import prepare_model
from trivet.engine.tasks.base import EngineLimits
from trivet.errors import TrivetError
from trivet.messages import (
    ClassifyRequest,
    ClassifyResult,
    EmbedRequest,
    EmbedResult,
    EngineRequest,
    EngineResult,
    RerankRequest,
    RerankResult,
    StageTimings,
    Usage,
)

DEVICE = "none"
DIMENSIONS = 384
"""As many as the starter embedder's vectors have."""

_TIMINGS = StageTimings()


class NoopBackend:
    """A `trivet.engine.backend.Backend` without a device, for the forward that a start begins with."""

    device = DEVICE
    layout = PADDED
    in_flight = 1
    token_budget = 1024
    falls_back = False
    gpu = None
    fault = None

    def launch(self, batch: TokenBatch) -> OneStep:
        return OneStep(lambda: np.zeros((len(batch.lengths), DIMENSIONS), dtype=np.float32))

    def release_scratch(self) -> None: ...

    def close(self) -> None: ...


class NoopEngine(Engine):
    """Resolves its futures at once: no tokens, no queue, no forward."""

    async def admit(self, requests: Sequence[EngineRequest]) -> list[ResultFuture | TrivetError]:
        loop = asyncio.get_running_loop()
        futures: list[ResultFuture | TrivetError] = []
        for request in requests:
            future: ResultFuture = loop.create_future()
            future.set_result(answer(request))
            futures.append(future)
        return futures


def open_noop_engine(config: AppConfig, task: Task) -> Engine:
    """An engine with the name and card of the configured model, whose files it reads."""
    prepared = prepare_model(config, task)
    return NoopEngine(
        prepared.files,
        NoopBackend(),
        name=prepared.source.name,
        revision=prepared.source.revision,
        precision="none",
        limits=EngineLimits(overlap_tokens=0, max_sequences=1_000, max_request_tokens=1_000),
        max_queued_tokens=1,
    )


def answer(request: EngineRequest) -> EngineResult:
    """A result of the right shape with meaningless values."""
    match request:
        case EmbedRequest():
            vectors = np.random.default_rng(0).random((len(request.texts), DIMENSIONS), dtype=np.float32)
            return EmbedResult(vectors, _usage(len(request.texts)), _TIMINGS, DEVICE)
        case RerankRequest():
            logits = np.linspace(1, 0, len(request.documents), dtype=np.float32)
            return RerankResult(logits, logits, _usage(len(logits)), _TIMINGS, DEVICE)
        case ClassifyRequest():
            labels = len(request.hypotheses)
            scores = np.full((len(request.inputs), labels), 1 / labels, dtype=np.float32)
            return ClassifyResult(scores, scores, _usage(len(request.inputs)), _TIMINGS, DEVICE)
        case _:
            raise NotImplementedError(f"{type(request).__name__} is not measured")


def _usage(inputs: int) -> Usage:
    return Usage((8,) * inputs, (1,) * inputs, (False,) * inputs)


class NoopDispatcher(LocalDispatcher):
    """The same engine without Ray, in the process of the HTTP side."""

    async def __aenter__(self) -> Self:
        for task in TASKS:
            self._engines[task] = open_noop_engine(self._config, task)
        return self
