"""The loop of a replica: takes the next batch, runs it and hands out its outputs.

Theory of operation
-------------------
There is one scheduler per backend. It decides nothing about batches (`fair_queue` does) and holds no tensors. It owns
the waiting sequences, the threads that run forwards, and the promise that every submitted job ends.

It runs one worker for each forward that the backend can have in flight: one on a CPU. A worker takes the next batch,
launches its forward and waits for the outputs. Where there are two workers, one prepares its batch while the device
computes the other's. A batch is chosen only when a worker is free, so new work never waits for more than the forwards
in flight and the turns of other flows.

A GPU can hang: its driver does not return, or the laptop has slept. Where another device can answer instead
(`Backend.falls_back`), a forward that runs far too long ends its jobs in `GpuUnavailable`, and so do all that wait and
all that come, until it has returned.

Some backends cut a long forward into steps. Between two steps much shorter batches run, for a bounded share of the long
forward's time, and a forward whose callers have all left ends there.
"""

import asyncio
import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from trivet.engine.backend import Backend, Pending
from trivet.engine.batch.token_batch import TokenBatch, build_batch
from trivet.engine.scheduling.fair_queue import FairQueue
from trivet.engine.scheduling.finite import NOT_FINITE, broken_rows
from trivet.engine.scheduling.jobs import Job
from trivet.engine.scheduling.metrics import UNMEASURED, Pace
from trivet.errors import EngineError, GpuUnavailable, Overloaded, TrivetError
from trivet.messages import EngineResult, Floats

logger = logging.getLogger(__name__)

FAILING_AFTER = 3
"""Failed forwards in a row after which the backend counts as broken. One or two may be due to their inputs."""

SHORTER_BY = 4
"""A batch may run between two steps of a forward if it has at most a quarter of its tokens. Batches of similar size
never interrupt each other."""

INTERRUPTED_SHARE = 0.14
"""The share of its time that a long forward may lose to shorter batches. Further ones wait until it ends."""

_WATCH_S = 0.5
"""How often forwards are looked at."""

IDLE_S = 60.0
"""After this long without a forward the backend returns what the last ones have left behind."""

_TIDY_S = 10.0
"""How often that is looked at."""

_CLOSED = "the engine was closed"

Entry = tuple[Job, int]
"""A job and the index of one of its sequences."""


@dataclass(slots=True, eq=False)
class _Forward:
    """One batch on its way through the device; it is built in the thread that launches it."""

    entries: list[Entry]
    _batch: TokenBatch | None = None
    where: list[int] = field(default_factory=list)
    """For each entry, the index of its sequence in the batch."""
    pending: Pending | None = None
    began_s: float | None = None
    own_s: float = 0.0
    """Time in which the device computed this forward and no other."""
    others_s: float = 0.0
    """Time in which it was paused for shorter batches."""
    broken: NDArray[np.bool_] | None = None
    """For each row of the outputs, whether a number in it is not finite; None if all are finite."""

    @property
    def batch(self) -> TokenBatch:
        """The batch, once it is built."""
        assert self._batch is not None
        return self._batch

    def build(self, pad_id: int) -> TokenBatch:
        """Lay the entries' sequences end to end."""
        sequences = [job.sequences[index] for job, index in self.entries]
        per_token = self.entries[0][0].per_token  # as of all others: the queue keeps the two apart
        self._batch, self.where = build_batch(sequences, pad_id, per_token=per_token)
        return self._batch

    def is_abandoned(self) -> bool:
        """Whether all callers have left."""
        return all(job.is_abandoned() for job, _ in self.entries)


class Scheduler:
    """Feeds one backend from one fair queue."""

    def __init__(
        self,
        backend: Backend,
        pad_id: int,
        *,
        max_queued_tokens: int,
        clock: Callable[[], float],
        stuck_after_s: float | None = None,
    ) -> None:
        """Create a stopped scheduler; `start` needs a running event loop.

        Args:
            backend: runs the batches. Where it falls back, what fails, or gives numbers that are not finite, ends in
                `GpuUnavailable` instead of `EngineError`.
            pad_id: token id that fills up padded sequences.
            max_queued_tokens: refuse work beyond this many waiting tokens.
            clock: monotonic seconds.
            stuck_after_s: shortest time after which a forward can count as stuck; None: none does.
        """
        self._backend = backend
        self._stuck_after_s = stuck_after_s
        self.stuck: str | None = None
        """Which forward does not end; None while all do."""
        self._error: type[TrivetError] = GpuUnavailable if backend.falls_back else EngineError
        self._pad_id = pad_id
        self.max_queued_tokens = max_queued_tokens
        """May be changed at any time; jobs that wait already stay."""
        self._clock = clock
        self._queue: FairQueue[Entry] = FairQueue(backend.layout, lambda entry: entry[0].is_abandoned())
        self._arrived = asyncio.Event()
        self._threads = ThreadPoolExecutor(backend.in_flight, thread_name_prefix="forward")
        self._launching = threading.Lock()
        self._workers: list[asyncio.Task[None]] = []
        self._pace = Pace()
        self._some_left = False
        """Whether sequences of jobs that ended early may still be waiting."""
        self.metrics = UNMEASURED
        """Where forwards are reported; set it before `start`."""
        self._failures = 0
        self._last_failure = ""
        self._steps_began_s: dict[_Forward, float] = {}
        self._last_step_ended_s = float("-inf")

    def start(self) -> None:
        """Start the workers."""
        names = (f"scheduler {number}" for number in range(self._backend.in_flight))
        self._workers = [asyncio.create_task(self._work(), name=name) for name in names]
        if self._stuck_after_s is not None:
            self._workers.append(asyncio.create_task(self._watch(self._stuck_after_s), name="scheduler watch"))
        self._workers.append(asyncio.create_task(self._tidy(), name="scheduler tidy"))

    @property
    def is_alive(self) -> bool:
        """Whether all workers run; without them callers would wait indefinitely."""
        return bool(self._workers) and not any(worker.done() for worker in self._workers)

    @property
    def failing(self) -> str | None:
        """Why one forward after another fails; None unless the last `FAILING_AFTER` did.

        A GPU that refuses work is not failing: it raises `GpuUnavailable`, and the CPU replica answers.
        """
        if self._failures < FAILING_AFTER:
            return None
        return f"the last {self._failures} forwards failed: {self._last_failure}"

    @property
    def forward_started_s(self) -> float | None:
        """When the oldest step in progress began; None between steps."""
        return min(self._steps_began_s.values(), default=None)

    @property
    def waiting_tokens(self) -> int:
        """Tokens that wait for a forward."""
        return self._queue.waiting_tokens

    def report_queue(self) -> None:
        """Report the queue as it is now."""
        submitted_s = [job.submitted_s for job, _ in self._queue.oldest() if not job.is_abandoned()]
        self.metrics.queue(
            sequences=len(self._queue),
            tokens=self._queue.waiting_tokens,
            oldest_s=self._clock() - min(submitted_s) if submitted_s else 0.0,
            token_budget=self._backend.token_budget,
        )

    def submit(self, job: Job) -> "asyncio.Future[EngineResult]":
        """Queue all sequences of a job; the returned future will hold its result.

        Raises:
            GpuUnavailable: a forward is stuck.
            Overloaded: the queue is full; nothing of the job was queued. A job larger than the whole queue is accepted
                when nothing waits, so that it is slow instead of impossible.
        """
        if self.stuck is not None:
            raise GpuUnavailable(self.stuck)
        waiting = self._queue.waiting_tokens
        if self._some_left and waiting + job.tokens > self.max_queued_tokens:
            self._some_left = False
            self._queue.drop_abandoned()  # work whose callers have left must not keep others out
            waiting = self._queue.waiting_tokens
        if waiting and waiting + job.tokens > self.max_queued_tokens:
            raise Overloaded(
                f"{waiting} tokens wait already; {job.tokens} more exceed the limit of {self.max_queued_tokens}",
                retry_after_s=self._pace.drain_s(waiting),
            )
        job.future = asyncio.get_running_loop().create_future()
        job.future.add_done_callback(self._note_leaving)
        job.submitted_s = self._clock()
        for index, sequence in enumerate(job.sequences):
            self._queue.push((job, index), sequence.tokens, job.priority, per_token=job.per_token)
        self._arrived.set()
        return job.future

    def _note_leaving(self, future: "asyncio.Future[EngineResult]") -> None:
        if future.cancelled() or future.exception() is not None:
            self._some_left = True

    async def close(self) -> None:
        """Stop the workers; fail the jobs that wait and those whose forwards are under way."""
        for worker in self._workers:
            worker.cancel()
        await asyncio.gather(*self._workers, return_exceptions=True)
        while entries := self._queue.next_batch(1 << 40):
            _fail(entries, EngineError(_CLOSED))
        self._threads.shutdown()

    async def _work(self) -> None:
        while True:
            while entries := self._queue.next_batch(self._backend.token_budget):
                await self._run(entries)
            self._arrived.clear()  # only while nothing waits, or another worker would miss its wake-up
            await self._arrived.wait()

    async def _tidy(self) -> None:
        """Let an idle backend return memory, once after each time that it has computed."""
        used_s, tidied_s = self._clock(), float("-inf")
        while True:
            await asyncio.sleep(_TIDY_S)
            used_s = max(used_s, self._last_step_ended_s)
            if self._steps_began_s or used_s <= tidied_s or self._clock() - used_s < IDLE_S:
                continue
            tidied_s = used_s
            try:
                await asyncio.get_running_loop().run_in_executor(self._threads, self._backend.release_scratch)
            except RuntimeError as error:
                logger.warning("an idle model keeps the memory of its last forwards: %s", error)

    async def _watch(self, stuck_after_s: float) -> None:
        """Look for forwards that do not end."""
        looked_s = self._clock()
        while True:
            await asyncio.sleep(_WATCH_S)
            # After a pause of the whole process, what the device has computed meanwhile must first be handed out.
            paused, looked_s = self._clock() - looked_s > 3 * _WATCH_S, self._clock()
            if not paused:
                self.look_for_stuck(stuck_after_s)

    def look_for_stuck(self, stuck_after_s: float) -> None:
        """Hand the work of a stuck forward back, and all that waits behind it."""
        forwards = list(self._steps_began_s)
        # The device computes one forward after the other: the oldest one began when the one before it ended.
        began_s = max(min(self._steps_began_s.values(), default=0.0), self._last_step_ended_s)
        took_s = self._clock() - began_s
        # Which of them the device computes is not known.
        tokens = sum(job.sequences[index].tokens for forward in forwards for job, index in forward.entries)
        if not forwards or took_s <= self._pace.stuck_after_s(tokens, stuck_after_s):
            if self.stuck is not None:
                logger.warning("the forward that was stuck has ended: the device is used again")
            self.stuck = None
            return
        if self.stuck is None:
            self.stuck = f"a forward has been running for {took_s:.0f} s and does not end"
            logger.error("%s: what waits for it is handed back", self.stuck)
        error = GpuUnavailable(self.stuck)
        for forward in forwards:
            _fail(forward.entries, error)
        while entries := self._queue.next_batch(1 << 40):
            _fail(entries, error)

    async def _run(self, entries: list[Entry]) -> None:
        """Compute one batch; deliver its outputs, or end its jobs with the error."""
        forward = _Forward(entries)
        try:
            outputs = await self._compute(forward)
        except asyncio.CancelledError:
            _fail(entries, EngineError(_CLOSED))  # waiting jobs are failed by `close`
            raise
        except TrivetError as error:
            self.metrics.failed(error)
            if not isinstance(error, GpuUnavailable):
                self._note_failure(error.message)
            _fail(entries, error)
        except Exception as error:
            self.metrics.failed(error)
            logger.exception("a forward of %d sequences failed", len(entries))
            self._note_failure(f"{type(error).__name__}: {error}")
            _fail(entries, self._error(f"the forward failed: {type(error).__name__}: {error}"))
        else:
            if outputs is None:
                self.metrics.abandoned(forward.batch)
                return
            self._failures = 0
            self._account(forward)
            broken = None if forward.broken is None else self._error(NOT_FINITE)
            if broken is not None:
                self.metrics.failed(broken)
            _deliver(forward, outputs, broken)

    async def _compute(self, forward: _Forward) -> Floats | None:
        """Run a forward to its end and return the outputs; None if all its callers leave on the way."""
        while (outputs := await self._step(forward)) is None:
            if forward.is_abandoned():
                return None
            await self._let_shorter_ones_run(forward)
        return outputs

    async def _step(self, forward: _Forward) -> Floats | None:
        began_s = self._steps_began_s[forward] = self._clock()
        try:
            outputs = await asyncio.get_running_loop().run_in_executor(self._threads, self._advance, forward)
        finally:
            del self._steps_began_s[forward]
        # A forward behind another one on the device waits; that time is the other one's.
        began_s = max(began_s, self._last_step_ended_s)
        self._last_step_ended_s = self._clock()
        forward.own_s += self._last_step_ended_s - began_s
        forward.began_s = began_s if forward.began_s is None else forward.began_s
        return outputs

    def _advance(self, forward: _Forward) -> Floats | None:
        """Launch a forward or compute its next step. Called in a thread."""
        if forward.pending is None:
            batch = forward.build(self._pad_id)
            with self._launching:
                forward.pending = self._backend.launch(batch)
        outputs = forward.pending.step()
        if outputs is not None:
            forward.broken = broken_rows(outputs)
        return outputs

    async def _let_shorter_ones_run(self, forward: _Forward) -> None:
        """Run batches much shorter than a paused forward. The fair queue chooses them; their time is bounded."""
        most = min(self._backend.token_budget, self._cost(forward.batch) // SHORTER_BY)
        while may_lose_time(forward.own_s, forward.others_s):
            entries = self._queue.next_batch(most, max_tokens=most)
            if not entries:
                break
            self.metrics.interrupted()
            began_s = self._clock()
            await self._run(entries)
            forward.others_s += self._clock() - began_s

    def _note_failure(self, why: str) -> None:
        self._failures += 1
        self._last_failure = why

    def _account(self, forward: _Forward) -> None:
        began_s = forward.began_s
        assert began_s is not None
        for job in {id(job): job for job, _ in forward.entries}.values():
            job.started_s = began_s if job.started_s is None else min(job.started_s, began_s)
            job.forward_s += forward.own_s
        self.metrics.forwarded(forward.batch, self._cost(forward.batch), forward.own_s)
        self._pace.forward_ended(forward.batch.tokens, forward.own_s)

    def _cost(self, batch: TokenBatch) -> int:
        return self._backend.layout.cost(batch.lengths)


def may_lose_time(own_s: float, others_s: float) -> bool:
    """Whether a forward that has computed and paused for so long may pause longer. Pure."""
    return others_s <= INTERRUPTED_SHARE * (own_s + others_s)


def _deliver(forward: _Forward, outputs: Floats, broken: TrivetError | None) -> None:
    """Hand out the rows; jobs with a row that is not finite end in the error."""
    batch = forward.batch
    for (job, index), at in zip(forward.entries, forward.where, strict=True):
        rows = slice(batch.cu_seqlens[at], batch.cu_seqlens[at + 1]) if batch.per_token else at
        if broken is not None and forward.broken is not None and forward.broken[rows].any():
            job.fail(broken)
        else:
            job.deliver(index, outputs[rows])


def _fail(entries: list[Entry], error: TrivetError) -> None:
    for job, _ in entries:
        job.fail(error)
