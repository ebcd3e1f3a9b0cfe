"""The scheduler: every submitted job ends, whatever happens to its batch; the queue is merged, and it is bounded."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.engine.fakes import FailingBackend, GatedBackend, PipelinedBackend, SteppingBackend, SummingBackend
from tests.support.memory_sink import MemorySink
from trivet.engine.batch.layout import BINNED, PADDED, Layout
from trivet.engine.batch.token_batch import TokenBatch, TokenSequence
from trivet.engine.scheduling.jobs import Job, Kept, usage
from trivet.engine.scheduling.metrics import EngineMetrics
from trivet.engine.scheduling.scheduler import FAILING_AFTER, IDLE_S, INTERRUPTED_SHARE, Scheduler
from trivet.errors import EngineError, GpuUnavailable, Overloaded
from trivet.messages import EmbedResult, EngineResult, Floats, Priority, StageTimings
from trivet.metrics import ABANDONED_TOKENS, FORWARD_FAILURES, INTERRUPTIONS, PADDED_TOKENS


def sequence(*values: int) -> TokenSequence:
    return TokenSequence((np.asarray(values, dtype=np.int32),), 1, len(values))


def job(*sequences: TokenSequence, priority: Priority = "interactive") -> Job:
    def finish(outputs: Floats, timings: StageTimings) -> EmbedResult:
        return EmbedResult(
            outputs, usage(sequences, [1] * len(sequences), [False] * len(sequences)), timings, "cpu (sum)"
        )

    return Job(sequences, finish, priority)


@asynccontextmanager
async def running(backend: SummingBackend, max_queued_tokens: int = 10_000) -> AsyncIterator[Scheduler]:
    scheduler = Scheduler(backend, pad_id=0, max_queued_tokens=max_queued_tokens, clock=time.monotonic)
    scheduler.start()
    try:
        yield scheduler
    finally:
        await scheduler.close()


def vectors(result: EngineResult) -> list[list[float]]:
    assert isinstance(result, EmbedResult)
    return [[float(value) for value in vector] for vector in result.vectors]


async def test_sequences_come_back_in_the_order_of_the_request() -> None:
    async with running(SummingBackend(token_budget=6)) as scheduler:
        sequences = [sequence(*range(1, n + 1)) for n in (9, 1, 5, 2, 7)]
        result = await scheduler.submit(job(*sequences))
    assert vectors(result) == [[45, 9], [1, 1], [15, 5], [3, 2], [28, 7]]


async def test_work_that_arrives_during_a_forward_is_merged_into_the_next() -> None:
    backend = GatedBackend(token_budget=64)
    async with running(backend) as scheduler:
        first = scheduler.submit(job(sequence(1)))
        await asyncio.to_thread(backend.entered.wait)
        rest = [scheduler.submit(job(sequence(n, n))) for n in range(2, 12)]
        backend.gate.set()
        await asyncio.gather(first, *rest)
    assert [len(batch.lengths) for batch in backend.batches] == [1, 10]


@pytest.mark.parametrize(
    ("layout", "batches", "computed"), [(BINNED, [1, 3], 16 + 64), (PADDED, [1, 1, 2], 1 + 50 + 4)]
)
async def test_sequences_of_any_lengths_are_merged_where_a_forward_mixes_them(
    layout: Layout, batches: list[int], computed: int
) -> None:
    backend = GatedBackend(token_budget=64)
    backend.layout = layout
    sink = MemorySink()
    async with running(backend) as scheduler:
        scheduler.metrics = EngineMetrics(sink, model="m", lane="cpu")
        first = scheduler.submit(job(sequence(1)))
        await asyncio.to_thread(backend.entered.wait)
        rest = scheduler.submit(job(sequence(*range(50)), sequence(1, 2), sequence(3, 4)))
        backend.gate.set()
        await asyncio.gather(first, rest)
    assert [len(batch.lengths) for batch in backend.batches] == batches
    assert sink.value(PADDED_TOKENS, model="m", lane="cpu") == computed


class Overflowing(GatedBackend):
    """Gives numbers that are not finite for sequences that begin with 13; of each token if it is asked for those."""

    def forward(self, batch: TokenBatch) -> Floats:
        outputs = super().forward(batch)
        outputs[batch.ids[batch.cu_seqlens[:-1]] == 13] = [1, np.nan]
        outputs[batch.ids[batch.cu_seqlens[:-1]] == 14] = [np.inf, 1]
        return np.repeat(outputs, batch.lengths, axis=0) if batch.per_token else outputs


async def test_where_another_replica_can_answer_what_is_not_finite_goes_there() -> None:
    backend, sink = Overflowing(), MemorySink()
    backend.falls_back = True
    backend.gate.set()
    async with running(backend) as scheduler:
        scheduler.metrics = EngineMetrics(sink, model="m", lane="gpu")
        with pytest.raises(GpuUnavailable, match="not finite"):
            await scheduler.submit(job(sequence(13, 2)))
        assert scheduler.failing is None
    assert sink.value(FORWARD_FAILURES, model="m", lane="gpu", error="GpuUnavailable") == 1


async def test_where_another_replica_can_answer_an_unforeseen_error_goes_there_and_counts() -> None:
    backend = FailingBackend(lambda: RuntimeError("no such kernel"))
    backend.falls_back = True
    async with running(backend) as scheduler:
        for _ in range(FAILING_AFTER):
            with pytest.raises(GpuUnavailable, match="no such kernel"):
                await scheduler.submit(job(sequence(13)))
        assert "no such kernel" in str(scheduler.failing)


@pytest.mark.parametrize("per_token", [False, True])
async def test_numbers_that_are_not_finite_are_answered_to_nobody(per_token: bool) -> None:
    backend = Overflowing()
    used = usage([sequence(1, 2)], [1], [False])
    async with running(backend) as scheduler:
        first = scheduler.submit(job(sequence(1)))
        await asyncio.to_thread(backend.entered.wait)
        waiting = []
        for start in (5, 13, 14, 6):  # in one forward
            one = job(sequence(start, 2))
            if per_token:
                one.per_token = True
                one.finish = Kept(
                    lambda _, rows: rows.copy(), lambda kept, took: EmbedResult(kept[0], used, took, "cpu")
                )
            waiting.append(scheduler.submit(one))
        backend.gate.set()
        await first
        good, nan, infinite, also_good = await asyncio.gather(*waiting, return_exceptions=True)
        assert len(backend.batches) == 2
        for error in (nan, infinite):
            assert isinstance(error, EngineError)
            assert "not finite" in error.message
        for result, expected in ((good, [7, 2]), (also_good, [8, 2])):
            assert isinstance(result, EmbedResult)
            assert vectors(result) == [expected] * (2 if per_token else 1)
        assert scheduler.failing is None


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        (lambda: GpuUnavailable("no room"), GpuUnavailable),
        (lambda: RuntimeError("boom"), EngineError),
        (lambda: MemoryError(), EngineError),
    ],
)
async def test_a_failed_forward_ends_its_own_jobs_only(raised: object, expected: type[Exception]) -> None:
    async with running(FailingBackend(raised)) as scheduler:  # type: ignore[arg-type]
        good, bad = scheduler.submit(job(sequence(1), sequence(2))), scheduler.submit(job(sequence(5), sequence(13)))
        assert vectors(await good) == [[1, 1], [2, 1]]
        with pytest.raises(expected):
            await bad
        assert scheduler.is_alive
        assert vectors(await scheduler.submit(job(sequence(3)))) == [[3, 1]]


async def test_forwards_that_fail_in_a_row_are_reported_until_one_works() -> None:
    async with running(FailingBackend(lambda: RuntimeError("boom"))) as scheduler:
        for _ in range(FAILING_AFTER - 1):
            await asyncio.gather(scheduler.submit(job(sequence(13))), return_exceptions=True)
        assert scheduler.failing is None  # may be due to its inputs
        await asyncio.gather(scheduler.submit(job(sequence(13))), return_exceptions=True)
        assert scheduler.failing == "the last 3 forwards failed: RuntimeError: boom"
        await scheduler.submit(job(sequence(3)))
        assert scheduler.failing is None


async def test_a_gpu_that_refuses_is_not_failing() -> None:
    async with running(FailingBackend(lambda: GpuUnavailable("no room"))) as scheduler:
        for _ in range(FAILING_AFTER):
            await asyncio.gather(scheduler.submit(job(sequence(13))), return_exceptions=True)
        assert scheduler.failing is None


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@asynccontextmanager
async def watched(backend: SummingBackend) -> AsyncIterator[tuple[Scheduler, Clock]]:
    """A scheduler whose time stands still; the tests look for forwards that do not end."""
    clock = Clock()
    scheduler = Scheduler(backend, pad_id=0, max_queued_tokens=10_000, clock=clock, stuck_after_s=1e9)
    scheduler.start()
    try:
        yield scheduler, clock
    finally:
        await scheduler.close()


async def test_work_on_a_gpu_that_hangs_is_handed_back_until_it_answers_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    backend = PipelinedBackend(token_budget=1)
    backend.falls_back = True
    async with watched(backend) as (scheduler, clock):
        first = scheduler.submit(job(sequence(1)))
        await until(lambda: len(backend.launched) == 1)
        clock.now_s += 1.0
        backend.finish()
        assert vectors(await first) == [[1, 1]]  # from now on it is known how long forwards take
        running, behind, waiting = (scheduler.submit(job(sequence(value))) for value in (2, 3, 4))
        await until(lambda: len(backend.launched) == 3)
        clock.now_s += 4.9
        scheduler.look_for_stuck(5.0)
        assert scheduler.stuck is None
        clock.now_s += 0.2
        scheduler.look_for_stuck(5.0)
        assert scheduler.stuck == "a forward has been running for 5 s and does not end"
        for future in (running, behind, waiting):
            with pytest.raises(GpuUnavailable, match="running for 5 s"):
                await future
        with pytest.raises(GpuUnavailable, match="running for 5 s"):
            scheduler.submit(job(sequence(5)))
        assert scheduler.waiting_tokens == 0
        scheduler.look_for_stuck(5.0)
        assert caplog.text.count("handed back") == 1
        backend.finish(2)
        await until(lambda: scheduler.forward_started_s is None)
        scheduler.look_for_stuck(5.0)
        assert scheduler.stuck is None
        assert "the device is used again" in caplog.text
        again = scheduler.submit(job(sequence(6)))
        backend.finish()
        assert vectors(await again) == [[6, 1]]


async def test_a_large_forward_may_take_ten_times_as_long_as_others_with_what_is_in_flight_before_it() -> None:
    backend = PipelinedBackend(token_budget=1)
    backend.falls_back = True
    large = sequence(*range(600))

    async def computed(one: TokenSequence, scheduler: Scheduler, clock: Clock, took_s: float) -> None:
        count = len(backend.launched)
        future = scheduler.submit(job(one))
        await until(lambda: len(backend.launched) == count + 1)
        clock.now_s += took_s
        backend.finish()
        await future

    async with watched(backend) as (scheduler, clock):
        await computed(sequence(1), scheduler, clock, 0.003)
        first = scheduler.submit(job(large))
        await until(lambda: len(backend.launched) == 2)
        clock.now_s += 29.0
        scheduler.look_for_stuck(5.0)
        assert scheduler.stuck is None, "it is not known how long large ones take"
        backend.finish()
        await first
        for _ in range(60):
            await computed(large, scheduler, clock, 1.0)
        for _ in range(60):
            await computed(sequence(1), scheduler, clock, 0.003)
        count = len(backend.launched)
        two = [scheduler.submit(job(sequence(*range(start, start + 600)))) for start in (1, 2)]
        await until(lambda: len(backend.launched) == count + 2)
        clock.now_s += 19.0
        scheduler.look_for_stuck(5.0)
        assert scheduler.stuck is None, "one of them waits for the other"
        clock.now_s += 3.0
        scheduler.look_for_stuck(5.0)
        assert scheduler.stuck is not None
        backend.finish(2)
        assert {type(error) for error in await asyncio.gather(*two, return_exceptions=True)} == {GpuUnavailable}


async def test_an_idle_backend_returns_what_forwards_left_behind_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trivet.engine.scheduling.scheduler._TIDY_S", 0.001)
    backend = SummingBackend()
    async with watched(backend) as (scheduler, clock):
        await scheduler.submit(job(sequence(1)))
        for passed_s, tidied in ((IDLE_S - 1, 0), (2.0, 1), (1e6, 1)):
            clock.now_s += passed_s
            await asyncio.sleep(0.05)
            assert backend.tidied == tidied
        await scheduler.submit(job(sequence(2)))
        clock.now_s += IDLE_S + 1
        await until(lambda: backend.tidied == 2)


async def test_nothing_is_returned_while_a_forward_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trivet.engine.scheduling.scheduler._TIDY_S", 0.001)
    backend = GatedBackend()
    async with watched(backend) as (scheduler, clock):
        running = scheduler.submit(job(sequence(1)))
        await asyncio.to_thread(backend.entered.wait)
        clock.now_s += IDLE_S + 1
        await asyncio.sleep(0.05)
        assert backend.tidied == 0
        backend.gate.set()
        await running


async def test_a_backend_that_cannot_return_it_keeps_answering(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("trivet.engine.scheduling.scheduler._TIDY_S", 0.001)

    class Keeping(SummingBackend):
        def release_scratch(self) -> None:
            raise RuntimeError("not while a request is busy")

    async with watched(Keeping()) as (scheduler, clock):
        await scheduler.submit(job(sequence(1)))
        clock.now_s += IDLE_S + 1
        await until(lambda: "not while a request is busy" in caplog.text)
        assert vectors(await scheduler.submit(job(sequence(2)))) == [[2, 1]]
        assert scheduler.is_alive


async def test_the_first_forward_may_take_longer() -> None:
    backend = GatedBackend()
    async with watched(backend) as (scheduler, clock):
        first = scheduler.submit(job(sequence(1)))
        await asyncio.to_thread(backend.entered.wait)
        clock.now_s += 29.0
        scheduler.look_for_stuck(5.0)
        assert not first.done()
        clock.now_s += 2.0
        scheduler.look_for_stuck(5.0)
        with pytest.raises(GpuUnavailable):
            await first
        backend.gate.set()


async def test_forwards_are_looked_at_by_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trivet.engine.scheduling.scheduler._WATCH_S", 0.01)
    backend = GatedBackend()
    scheduler = Scheduler(backend, pad_id=0, max_queued_tokens=100, clock=time.monotonic, stuck_after_s=0.01)
    scheduler.start()
    with pytest.raises(GpuUnavailable):
        await scheduler.submit(job(sequence(1)))
    backend.gate.set()
    await scheduler.close()


async def test_sequences_of_a_cancelled_job_are_never_run() -> None:
    backend = GatedBackend(token_budget=1)
    async with running(backend) as scheduler:
        first = scheduler.submit(job(sequence(1)))
        await asyncio.to_thread(backend.entered.wait)
        leaving, staying = scheduler.submit(job(sequence(2), sequence(3))), scheduler.submit(job(sequence(4)))
        leaving.cancel()
        backend.gate.set()
        await asyncio.gather(first, staying)
    assert [int(batch.ids[0]) for batch in backend.batches] == [1, 4]


async def test_a_full_queue_refuses_with_a_time_to_come_back() -> None:
    backend = GatedBackend()
    async with running(backend, max_queued_tokens=5) as scheduler:
        running_job = scheduler.submit(job(sequence(1)))
        await asyncio.to_thread(backend.entered.wait)
        waiting = scheduler.submit(job(sequence(1, 2, 3)))
        with pytest.raises(Overloaded) as refused:
            scheduler.submit(job(sequence(1, 2, 3)))
        assert refused.value.retry_after_s >= 1
        backend.gate.set()
        await asyncio.gather(running_job, waiting)
        assert scheduler.waiting_tokens == 0


async def test_a_job_larger_than_the_queue_is_taken_when_nothing_waits() -> None:
    async with running(SummingBackend(), max_queued_tokens=2) as scheduler:
        assert vectors(await scheduler.submit(job(sequence(1, 1, 1, 1)))) == [[4, 4]]


async def test_closing_fails_waiting_jobs_and_those_under_way() -> None:
    backend = GatedBackend()
    scheduler = Scheduler(backend, pad_id=0, max_queued_tokens=100, clock=time.monotonic)
    scheduler.start()
    under_way = scheduler.submit(job(sequence(1)))
    await asyncio.to_thread(backend.entered.wait)
    waiting = scheduler.submit(job(sequence(2)))
    backend.gate.set()
    await scheduler.close()
    for future in (under_way, waiting):
        with pytest.raises(EngineError, match="closed"):
            await asyncio.wait_for(future, 10)
    assert not scheduler.is_alive


async def test_timings_are_filled_in() -> None:
    async with running(SummingBackend()) as scheduler:
        result = await scheduler.submit(job(sequence(1), sequence(2)))
    assert isinstance(result, EmbedResult)
    assert result.timings.forward_s > 0
    assert result.timings.queue_s >= 0


async def test_cancelled_work_does_not_keep_other_work_out() -> None:
    backend = GatedBackend(token_budget=1)
    async with running(backend, max_queued_tokens=6) as scheduler:
        first = scheduler.submit(job(sequence(1)))
        await asyncio.to_thread(backend.entered.wait)
        leaving = scheduler.submit(job(sequence(2, 2, 2), sequence(3, 3)))
        with pytest.raises(Overloaded):
            scheduler.submit(job(sequence(4, 4)))
        leaving.cancel()
        await asyncio.sleep(0)  # lets the future's callback run
        staying = scheduler.submit(job(sequence(4, 4)))
        assert scheduler.waiting_tokens == 2
        backend.gate.set()
        await asyncio.gather(first, staying)
    assert [int(batch.ids[0]) for batch in backend.batches] == [1, 4]


async def test_a_refusal_names_when_half_of_the_queue_is_done_at_the_measured_rate() -> None:
    clock = SteppedClock()
    backend = SteppedBackend(clock, seconds=4.0)
    scheduler = Scheduler(backend, pad_id=0, max_queued_tokens=100, clock=clock)
    scheduler.start()
    await scheduler.submit(job(sequence(*range(1, 9))))  # 8 tokens in 4 s
    backend.gate.clear()
    backend.entered.clear()
    held = scheduler.submit(job(sequence(1)))
    await asyncio.to_thread(backend.entered.wait)
    waiting = scheduler.submit(job(*(sequence(*[n] * 10) for n in range(1, 11))))
    with pytest.raises(Overloaded) as refused:
        scheduler.submit(job(sequence(1)))
    assert refused.value.retry_after_s == 0.5 * 100 / 2.0
    backend.gate.set()
    await asyncio.gather(held, waiting)
    await scheduler.close()


class SteppedClock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s

    def advance(self, seconds: float) -> None:
        self.now_s += seconds


class SteppedBackend(GatedBackend):
    """A forward takes `seconds` on the clock."""

    def __init__(self, clock: SteppedClock, seconds: float) -> None:
        super().__init__(token_budget=1000)
        self._clock = clock
        self._seconds = seconds
        self.gate.set()

    def forward(self, batch: TokenBatch) -> Floats:
        outputs = super().forward(batch)
        self._clock.now_s += self._seconds
        return outputs


async def test_bulk_work_and_a_person_do_not_starve_each_other() -> None:
    backend = GatedBackend(token_budget=10)
    done: list[tuple[str, int]] = []

    def noting(name: str) -> Callable[[object], None]:
        return lambda _: done.append((name, len(backend.batches)))

    async with running(backend) as scheduler:
        first = scheduler.submit(job(sequence(1)))
        await asyncio.to_thread(backend.entered.wait)
        bulk = [scheduler.submit(job(sequence(*[n] * 10), priority="bulk")) for n in range(1, 41)]
        person = [scheduler.submit(job(sequence(*[n] * 10))) for n in range(101, 141)]
        for future in bulk:
            future.add_done_callback(noting("bulk"))
        for future in person:
            future.add_done_callback(noting("person"))
        backend.gate.set()
        await asyncio.gather(first, *bulk, *person)
        await asyncio.sleep(0)
    names = [name for name, _ in done]
    people = [at for at, name in enumerate(names) if name == "person"]
    indexing = [at for at, name in enumerate(names) if name == "bulk"]
    assert people[0] <= 1  # before an indexing job that came first
    assert people[-1] <= 40 + 40 / 8 + 1  # it costs a person an eighth
    assert sum(at < people[-1] for at in indexing) >= 4  # and goes on meanwhile


def long_sequence(tokens: int) -> TokenSequence:
    return sequence(*[1] * tokens)


async def submit_during(scheduler: Scheduler, backend: SteppingBackend, at: tuple[int, int], *jobs: Job) -> list[Any]:
    """Let a step of a forward that is under way wait until these jobs have been queued; returns their futures."""
    reached, go_on = threading.Event(), threading.Event()
    usual = backend.before_step

    def hold(longest: int, step: int) -> None:
        usual(longest, step)
        if (longest, step) == at:
            reached.set()
            go_on.wait(timeout=30)

    backend.before_step = hold
    await asyncio.to_thread(reached.wait, 30)
    futures = [scheduler.submit(one) for one in jobs]
    go_on.set()
    return futures


async def test_a_short_sequence_runs_between_two_steps_of_a_long_one_and_both_are_right() -> None:
    backend = SteppingBackend(5, uncut_tokens=8)
    sink = MemorySink()
    async with running(backend) as scheduler:
        scheduler.metrics = EngineMetrics(sink, model="m", lane="cpu")
        long = scheduler.submit(job(long_sequence(80)))
        [short] = await submit_during(scheduler, backend, (80, 1), job(sequence(4, 5)))
        assert vectors(await short) == [[9, 2]]
        assert not long.done()
        assert vectors(await long) == [[80, 80]]
    assert backend.order[:4] == [(80, 0), (80, 1), (2, 0), (80, 2)]
    assert sink.value(INTERRUPTIONS, model="m", lane="cpu") == 1


async def test_a_long_sequence_is_not_overtaken_by_similar_work() -> None:
    backend = SteppingBackend(5, uncut_tokens=8, token_budget=1000)
    async with running(backend) as scheduler:
        first = scheduler.submit(job(long_sequence(80)))
        [second] = await submit_during(scheduler, backend, (80, 1), job(long_sequence(30)))
        await asyncio.gather(first, second)
    assert backend.order[:6] == [(80, 0), (80, 1), (80, 2), (80, 3), (80, 4), (30, 0)]


async def test_short_sequences_take_no_more_than_their_share_of_a_long_forward() -> None:
    clock = SteppedClock()
    backend = SteppingBackend(100, uncut_tokens=8, token_budget=2)
    scheduler = Scheduler(backend, pad_id=0, max_queued_tokens=10_000, clock=clock)
    scheduler.start()
    backend.before_step = lambda longest, step: clock.advance(1.0)
    long = scheduler.submit(job(long_sequence(80)))
    shorts = await submit_during(scheduler, backend, (80, 0), *(job(sequence(n, n)) for n in range(2, 200)))
    await long
    overtook = sum(future.done() for future in shorts)
    await scheduler.close()
    assert 0.8 * INTERRUPTED_SHARE <= overtook / (overtook + 100) <= INTERRUPTED_SHARE + 0.02


async def test_a_cancelled_long_forward_ends_at_its_next_step() -> None:
    backend = SteppingBackend(1000, uncut_tokens=8)
    async with running(backend) as scheduler:
        sink = MemorySink()
        scheduler.metrics = EngineMetrics(sink, model="m", lane="cpu")
        long = scheduler.submit(job(long_sequence(80)))
        [short] = await submit_during(scheduler, backend, (80, 1), job(sequence(4, 5)))
        long.cancel()
        assert vectors(await short) == [[9, 2]]
        assert vectors(await scheduler.submit(job(sequence(6)))) == [[6, 1]]
    assert len(backend.order) < 10
    assert sink.value(ABANDONED_TOKENS, model="m", lane="cpu") == 80


async def test_a_short_sequence_that_fails_fails_alone() -> None:
    backend = SteppingBackend(5, uncut_tokens=8)
    async with running(backend) as scheduler:
        long = scheduler.submit(job(long_sequence(80)))
        [short] = await submit_during(scheduler, backend, (80, 1), job(sequence(13)))

        def refuse(longest: int, step: int) -> None:
            if longest == 1:
                raise ValueError("thirteen")

        backend.before_step = refuse
        with pytest.raises(EngineError, match="thirteen"):
            await short
        assert vectors(await long) == [[80, 80]]


async def test_a_long_forward_that_fails_on_the_way_fails_its_own_callers_only() -> None:
    backend = SteppingBackend(5, uncut_tokens=8)
    async with running(backend) as scheduler:
        long = scheduler.submit(job(long_sequence(80)))
        [short] = await submit_during(scheduler, backend, (80, 1), job(sequence(7)))

        def refuse(longest: int, step: int) -> None:
            if longest == 80:
                raise ValueError("eighty")

        backend.before_step = refuse
        with pytest.raises(EngineError, match="eighty"):
            await long
        assert vectors(await short) == [[7, 1]]
        assert vectors(await scheduler.submit(job(sequence(8)))) == [[8, 1]]


async def until(reached: Callable[[], bool]) -> None:
    def wait() -> None:
        ends_s = time.monotonic() + 10
        while not reached():
            assert time.monotonic() < ends_s
            time.sleep(0.001)

    await asyncio.to_thread(wait)


async def test_the_next_batch_is_launched_while_one_is_computed_and_no_further_one() -> None:
    backend = PipelinedBackend(token_budget=1)
    async with running(backend) as scheduler:
        jobs = [scheduler.submit(job(sequence(value))) for value in (1, 2, 3, 4)]
        await until(lambda: len(backend.launched) == 2)
        await asyncio.sleep(0.05)
        assert [int(batch.ids[0]) for batch in backend.launched] == [1, 2]
        late = scheduler.submit(job(sequence(5), priority="interactive"))
        backend.finish()
        assert vectors(await jobs[0]) == [[1, 1]]
        await until(lambda: len(backend.launched) == 3)
        backend.finish(4)
        assert [vectors(await one)[0][0] for one in (*jobs[1:], late)] == [2, 3, 4, 5]


async def test_of_two_forwards_in_flight_one_fails_and_the_other_answers() -> None:
    backend = PipelinedBackend(token_budget=1)

    def refuse(batch: TokenBatch) -> None:
        if 13 in batch.ids:
            raise GpuUnavailable("no room")

    backend.when_done = refuse
    async with running(backend) as scheduler:
        bad, good = scheduler.submit(job(sequence(13))), scheduler.submit(job(sequence(4)))
        backend.finish(2)
        with pytest.raises(GpuUnavailable):
            await bad
        assert vectors(await good) == [[4, 1]]
        assert scheduler.is_alive


async def test_waiting_for_the_device_counts_as_queue_and_not_as_forward() -> None:
    clock = SteppedClock()
    backend = PipelinedBackend(token_budget=2)
    backend.when_done = lambda batch: clock.advance(4.0)
    scheduler = Scheduler(backend, pad_id=0, max_queued_tokens=100, clock=clock)
    scheduler.start()
    jobs = [scheduler.submit(job(sequence(value, value))) for value in (1, 2)]
    await until(lambda: len(backend.launched) == 2)
    assert scheduler.forward_started_s == 0.0
    timings = []
    for one in jobs:
        backend.finish()
        timings.append((await one).timings)
    assert [(times.queue_s, times.forward_s) for times in timings] == [(0.0, 4.0), (4.0, 4.0)]
    assert scheduler.forward_started_s is None
    held = [scheduler.submit(job(sequence(value, value))) for value in (3, 4)]
    await until(lambda: len(backend.launched) == 4)
    waiting = scheduler.submit(job(*(sequence(value, value) for value in range(5, 55))))
    with pytest.raises(Overloaded) as refused:
        scheduler.submit(job(sequence(1)))
    assert refused.value.retry_after_s == 0.5 * 100 / 0.5, "the device computes 2 tokens in 4 s, whatever is in flight"
    backend.finish(60)
    await asyncio.gather(*held, waiting)
    await scheduler.close()


async def test_closing_fails_every_forward_in_flight() -> None:
    backend = PipelinedBackend(token_budget=1)
    scheduler = Scheduler(backend, pad_id=0, max_queued_tokens=100, clock=time.monotonic)
    scheduler.start()
    jobs = [scheduler.submit(job(sequence(value))) for value in (1, 2, 3)]
    await until(lambda: len(backend.launched) == 2)
    backend.finish(2)
    await scheduler.close()
    outcomes = await asyncio.gather(*jobs, return_exceptions=True)
    assert all(isinstance(outcome, EngineError | EmbedResult) for outcome in outcomes)
    assert isinstance(outcomes[2], EngineError)
    assert not scheduler.is_alive


@pytest.mark.slow
@settings(max_examples=20, deadline=None)
@given(st.lists(st.tuples(st.lists(st.integers(1, 20), min_size=1, max_size=4), st.booleans()), max_size=40))
def test_every_job_ends_with_its_own_outputs_however_many_forwards_are_in_flight(
    given_jobs: list[tuple[list[int], bool]],
) -> None:
    async def run() -> None:
        backend = PipelinedBackend(token_budget=8)
        backend.finish(1000)

        def refuse(batch: TokenBatch) -> None:
            if 13 in batch.ids:
                raise ValueError("thirteen")

        backend.when_done = refuse
        async with running(backend) as scheduler:
            futures = [scheduler.submit(job(*map(sequence, values))) for values, _ in given_jobs]
            for future, (_, leaves) in zip(futures, given_jobs, strict=True):
                if leaves:
                    future.cancel()
                await asyncio.sleep(0)
            outcomes = await asyncio.wait_for(asyncio.gather(*futures, return_exceptions=True), 10)
        for outcome, (values, _) in zip(outcomes, given_jobs, strict=True):
            if isinstance(outcome, EmbedResult):
                assert vectors(outcome) == [[value, 1] for value in values]
            else:
                assert isinstance(outcome, EngineError | asyncio.CancelledError)

    asyncio.run(run())
