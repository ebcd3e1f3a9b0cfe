"""The loop of a replica: take the next batch, run it, hand out what came back.

One scheduler per backend. It decides nothing about batches (`fair_queue` does) and holds no tensors; it owns the
waiting sequences, the thread that runs forwards, and the promise that every submitted job ends. Where the backend cuts
a long forward into steps, much shorter batches run between them, and one that nobody waits for any more ends there.
"""

import asyncio
import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

from trivet.engine.backend import Backend
from trivet.engine.batch.token_batch import TokenBatch, build_batch
from trivet.engine.scheduling.fair_queue import FairQueue
from trivet.engine.scheduling.jobs import Job
from trivet.engine.scheduling.metrics import UNMEASURED
from trivet.errors import EngineError, GpuUnavailable, Overloaded, TrivetError
from trivet.messages import EngineResult, Floats

logger = logging.getLogger(__name__)

_RATE_SMOOTHING = 0.1
"""Weight of the newest forward in the measured drain rate."""

FAILING_AFTER = 3
"""Forwards that fail in a row before the backend counts as broken: one or two may be due to what they were given."""

SHORTER_BY = 4
"""A forward that pauses lets batches of at most a quarter of its tokens run first: nobody is overtaken by his like."""

INTERRUPTED_SHARE = 0.14
"""Of its time, how much a long forward may lose to shorter ones. More short work than that takes its turn after it."""

_CLOSED = "the engine was closed"

Entry = tuple[Job, int]
"""A job and the index of one of its sequences."""


class Scheduler:
    """Feeds one backend from one fair queue."""

    def __init__(self, backend: Backend, pad_id: int, *, max_queued_tokens: int, clock: Callable[[], float]) -> None:
        """Build it stopped; `start` needs a running event loop.

        Args:
            backend: runs the batches.
            pad_id: token id that fills up padded sequences.
            max_queued_tokens: refuse work beyond this many waiting tokens.
            clock: monotonic seconds.
        """
        self._backend = backend
        self._pad_id = pad_id
        self.max_queued_tokens = max_queued_tokens
        """May be changed at any time; what waits already stays."""
        self._clock = clock
        self._queue: FairQueue[Entry] = FairQueue(backend.layout, lambda entry: entry[0].is_abandoned())
        self._arrived = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="forward")
        self._loop_task: asyncio.Task[None] | None = None
        self._tokens_per_s = 0.0
        self._some_left = False
        """Whether sequences of jobs that have ended early may be waiting still."""
        self.metrics = UNMEASURED
        """Where forwards are reported; set it before `start`."""
        self._failures = 0
        self._last_failure = ""
        self.forward_started_s: float | None = None
        """When the step now in progress began; None between steps."""

    def start(self) -> None:
        """Start the loop."""
        self._loop_task = asyncio.create_task(self._run(), name="scheduler")

    @property
    def is_alive(self) -> bool:
        """Whether the loop runs; a dead one would let every caller wait for ever."""
        return self._loop_task is not None and not self._loop_task.done()

    @property
    def failing(self) -> str | None:
        """Why one forward after another fails; None unless the last `FAILING_AFTER` did.

        A GPU that refuses work is not failing: it says so, and its CPU replica answers.
        """
        if self._failures < FAILING_AFTER:
            return None
        return f"the last {self._failures} forwards failed: {self._last_failure}"

    @property
    def waiting_tokens(self) -> int:
        """Tokens that wait for a forward."""
        return self._queue.waiting_tokens

    def report_queue(self) -> None:
        """Report what waits at this moment."""
        submitted_s = [job.submitted_s for job, _ in self._queue.oldest() if not job.is_abandoned()]
        self.metrics.queue(
            sequences=len(self._queue),
            tokens=self._queue.waiting_tokens,
            oldest_s=self._clock() - min(submitted_s) if submitted_s else 0.0,
            token_budget=self._backend.token_budget,
        )

    def submit(self, job: Job) -> "asyncio.Future[EngineResult]":
        """Queue all sequences of a job; the returned future is its result to come.

        Raises:
            Overloaded: the queue is full; nothing of the job was taken. A job larger than the whole queue is
                taken when nothing waits, so that it is slow instead of impossible.
        """
        waiting = self._queue.waiting_tokens
        if self._some_left and waiting + job.tokens > self.max_queued_tokens:
            self._some_left = False
            self._queue.drop_abandoned()  # nobody is to be refused for the sake of those who have gone
            waiting = self._queue.waiting_tokens
        if waiting and waiting + job.tokens > self.max_queued_tokens:
            raise Overloaded(
                f"{waiting} tokens wait already; {job.tokens} more exceed the limit of {self.max_queued_tokens}",
                retry_after_s=self._drain_s(waiting),
            )
        job.future = asyncio.get_running_loop().create_future()
        job.future.add_done_callback(self._note_leaving)
        job.submitted_s = self._clock()
        for index, sequence in enumerate(job.sequences):
            self._queue.push((job, index), sequence.tokens, job.priority)
        self._arrived.set()
        return job.future

    def _note_leaving(self, future: "asyncio.Future[EngineResult]") -> None:
        if future.cancelled() or future.exception() is not None:
            self._some_left = True

    async def close(self) -> None:
        """Stop the loop; fail what waits and what a forward is under way for."""
        if self._loop_task is not None:
            self._loop_task.cancel()
            await asyncio.gather(self._loop_task, return_exceptions=True)
        while batch := self._queue.next_batch(1 << 40):
            _fail(batch, EngineError(_CLOSED))
        self._thread.shutdown()

    async def _run(self) -> None:
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            while entries := self._queue.next_batch(self._backend.token_budget):
                await self._run_one(entries)

    async def _run_one(self, entries: list[Entry]) -> None:
        """One forward, from its first step to what its callers get; shorter ones may run between its steps."""
        batch, where = build_batch([job.sequences[index] for job, index in entries], self._pad_id)
        now_s = self._clock()
        for job, _ in entries:
            job.started_s = job.started_s or now_s
        steps = self._backend.steps(batch)
        own_s = others_s = 0.0
        outputs: Floats | None = None
        try:
            while outputs is None:
                began_s = self._clock()
                outputs = await self._step(steps)
                own_s += self._clock() - began_s
                if outputs is None:
                    if all(job.is_abandoned() for job, _ in entries):
                        self.metrics.abandoned(batch)
                        return
                    others_s += await self._let_shorter_ones_run(batch, own_s, others_s)
        except asyncio.CancelledError:
            _fail(entries, EngineError(_CLOSED))  # what waits besides is failed by `close`
            raise
        except TrivetError as error:
            self.metrics.failed(error)
            if not isinstance(error, GpuUnavailable):
                self._note_failure(error.message)
            _fail(entries, error)
            return
        except Exception as error:
            self.metrics.failed(error)
            logger.exception("a forward of %d sequences failed", len(batch.lengths))
            self._note_failure(f"{type(error).__name__}: {error}")
            _fail(entries, EngineError(f"the forward failed: {type(error).__name__}: {error}"))
            return
        self._failures = 0
        self._account(entries, batch, own_s)
        _deliver(entries, outputs, where)

    async def _step(self, steps: Iterator[Floats | None]) -> Floats | None:
        self.forward_started_s = self._clock()
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, next, steps)
        finally:
            self.forward_started_s = None

    async def _let_shorter_ones_run(self, batch: TokenBatch, own_s: float, others_s: float) -> float:
        """Run what is much shorter than `batch` while its forward pauses; returns the seconds that took.

        Which of them is the fair queue's choice; how many is bounded by the share of its time that a long forward
        may lose.
        """
        began_s = self._clock()
        most = min(self._backend.token_budget, self._backend.layout.cost(batch.lengths) // SHORTER_BY)
        lost_s = 0.0
        while others_s + lost_s <= INTERRUPTED_SHARE * (own_s + others_s + lost_s):
            shorter = self._queue.next_batch(most, max_tokens=most)
            if not shorter:
                break
            self.metrics.interrupted()
            await self._run_one(shorter)
            lost_s = self._clock() - began_s
        return lost_s

    def _note_failure(self, why: str) -> None:
        self._failures += 1
        self._last_failure = why

    def _account(self, entries: list[Entry], batch: TokenBatch, forward_s: float) -> None:
        for job in {id(job): job for job, _ in entries}.values():
            job.forward_s += forward_s
        self.metrics.forwarded(batch, self._backend.layout.cost(batch.lengths), forward_s)
        rate = batch.tokens / max(forward_s, 1e-6)
        self._tokens_per_s += _RATE_SMOOTHING * (rate - self._tokens_per_s) if self._tokens_per_s else rate

    def _drain_s(self, waiting_tokens: int) -> float:
        """Seconds until half of what waits is done, at the measured rate; 1 s before anything was measured."""
        if not self._tokens_per_s:
            return 1.0
        return max(1.0, 0.5 * waiting_tokens / self._tokens_per_s)


def _deliver(entries: list[Entry], outputs: Floats, where: list[int]) -> None:
    for (job, index), at in zip(entries, where, strict=True):
        job.deliver(index, outputs[at])


def _fail(entries: list[Entry], error: TrivetError) -> None:
    for job, _ in entries:
        job.fail(error)
