"""The metrics of a scheduler: each forward with its tokens and padding, failures by class, the current queue."""

import asyncio
import time

import numpy as np
import pytest

from tests.engine.fakes import FailingBackend, GatedBackend, SummingBackend
from tests.support.memory_sink import MemorySink
from trivet.engine.batch.token_batch import TokenSequence
from trivet.engine.scheduling.jobs import Job, usage
from trivet.engine.scheduling.metrics import EngineMetrics
from trivet.engine.scheduling.scheduler import Scheduler
from trivet.errors import EngineError, GpuUnavailable
from trivet.messages import EmbedResult, Floats, StageTimings
from trivet.metrics import (
    BATCH_SECONDS,
    BATCH_SEQUENCES,
    FORWARD_FAILURES,
    PADDED_TOKENS,
    QUEUE_OLDEST,
    QUEUE_SEQUENCES,
    QUEUE_TOKENS,
    TOKEN_BUDGET,
    TOKENS,
)

HERE = {"model": "embedder", "lane": "gpu"}


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def job(*lengths: int, first_id: int = 1) -> Job:
    sequences = tuple(
        TokenSequence((np.arange(first_id + n * 50, first_id + n * 50 + length, dtype=np.int32),), 1, length)
        for n, length in enumerate(lengths)
    )

    def finish(outputs: Floats, timings: StageTimings) -> EmbedResult:
        return EmbedResult(outputs, usage(sequences, [1] * len(sequences), [False] * len(sequences)), timings, "here")

    return Job(sequences, finish, "interactive")


def measured(backend: SummingBackend, clock: Clock | None = None) -> tuple[Scheduler, MemorySink]:
    sink = MemorySink()
    scheduler = Scheduler(backend, pad_id=0, max_queued_tokens=10_000, clock=clock or time.monotonic)
    scheduler.metrics = EngineMetrics(sink, **HERE)
    scheduler.start()
    return scheduler, sink


async def test_a_forward_is_reported_once_with_its_padding() -> None:
    scheduler, sink = measured(SummingBackend(token_budget=64))
    await scheduler.submit(job(16, 10, 16))
    await scheduler.close()
    assert sink.observed(BATCH_SEQUENCES, **HERE) == [3]
    assert len(sink.observed(BATCH_SECONDS, **HERE)) == 1
    assert sink.value(TOKENS, **HERE) == 42
    assert sink.value(PADDED_TOKENS, **HERE) == 48


@pytest.mark.parametrize(
    ("raised", "name"),
    [(lambda: GpuUnavailable("full"), "GpuUnavailable"), (lambda: RuntimeError("boom"), "RuntimeError")],
)
async def test_a_failed_forward_is_counted_by_its_class(raised: object, name: str) -> None:
    scheduler, sink = measured(FailingBackend(raised))  # type: ignore[arg-type]
    with pytest.raises((GpuUnavailable, EngineError)):
        await scheduler.submit(job(1, first_id=13))
    await scheduler.close()
    assert sink.value(FORWARD_FAILURES, **HERE, error=name) == 1
    assert sink.value(TOKENS, **HERE) == 0


async def test_the_queue_is_reported_with_its_oldest_work() -> None:
    clock = Clock()
    backend = GatedBackend(token_budget=8)
    scheduler, sink = measured(backend, clock)
    running = scheduler.submit(job(4))
    await asyncio.to_thread(backend.entered.wait)
    clock.now_s += 5
    left = scheduler.submit(job(30, first_id=100))
    clock.now_s += 5
    waiting = scheduler.submit(job(3, 3, first_id=400))
    left.cancel()
    clock.now_s += 2
    scheduler.report_queue()
    assert sink.value(QUEUE_OLDEST, **HERE) == 2  # work whose caller has left does not count
    assert sink.value(QUEUE_SEQUENCES, **HERE) == 3
    assert sink.value(QUEUE_TOKENS, **HERE) == 36
    assert sink.value(TOKEN_BUDGET, **HERE) == 8
    backend.gate.set()
    await asyncio.gather(running, waiting)
    scheduler.report_queue()
    await scheduler.close()
    assert sink.value(QUEUE_OLDEST, **HERE) == 0
    assert sink.value(QUEUE_SEQUENCES, **HERE) == 0
