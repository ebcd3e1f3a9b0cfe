"""Measures every call to a model: for the status page, as metrics, and for the log line of the request behind it.

`MeasuringDispatcher` changes nothing of what passes through it. The metrics are this process's share of the traffic,
which Prometheus adds up; the status page shows the sum over all processes.
"""

from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, field

from trivet.config import TASKS, Lane, Task
from trivet.dispatch.lane_readings import READING_WORDS, LaneReadings
from trivet.dispatch.protocol import Dispatcher, Routed
from trivet.dispatch.reroute_log import REROUTE_WORDS, RerouteLog
from trivet.dispatch.rolling_stats import TABLE_WORDS, Rolling
from trivet.dispatch.shared_blocks import SharedBlocks
from trivet.errors import InvalidInput
from trivet.messages import EngineResult, Request, ResultT, StageTimings
from trivet.metrics import CALL_FAILURES, STAGE_SECONDS, STAGES, MetricsSink


@dataclass(slots=True)
class CallTotals:
    """The calls that one request made to one model on one lane, added up."""

    model: Task
    lane: Lane
    device: str
    calls: int = 0
    tokens: int = 0
    sequences: int = 0
    tokenize_s: float = 0.0
    queue_s: float = 0.0
    forward_s: float = 0.0
    total_s: float = 0.0

    def add(self, tokens: int, sequences: int, timings: StageTimings, total_s: float) -> None:
        """Add one more call."""
        self.calls += 1
        self.tokens += tokens
        self.sequences += sequences
        self.tokenize_s += timings.tokenize_s
        self.queue_s += timings.queue_s
        self.forward_s += timings.forward_s
        self.total_s += total_s


@dataclass(slots=True)
class CallLog:
    """The calls made for one request, which began at `started_s`. It holds no text of the request."""

    started_s: float
    totals: dict[tuple[Task, Lane], CallTotals] = field(default_factory=dict)
    reroute_reasons: dict[str, None] = field(default_factory=dict)
    """In the order they occurred, each once."""

    def totals_of(self, model: Task, lane: Lane, device: str) -> CallTotals:
        """Return the sum that a call belongs to."""
        totals = self.totals.get((model, lane))
        if totals is None:
            totals = self.totals[model, lane] = CallTotals(model, lane, device)
        return totals


_current: ContextVar[CallLog | None] = ContextVar("trivet_call_log", default=None)


def current_call_log() -> CallLog | None:
    """Return the log of the request that this task answers; None outside of a request."""
    return _current.get()


def begin_call_log(log: CallLog) -> None:
    """Make it the current one for this task and those it starts, so that dispatchers need not pass it along."""
    _current.set(log)


_MODEL_WORDS = 1 + TABLE_WORDS
BLOCK_BYTES = 8 * (len(TASKS) * _MODEL_WORDS + REROUTE_WORDS + READING_WORDS)
"""Size of a process's block."""


class Traffic:
    """What `/v1/status` shows of the traffic: the calls of all processes that serve as one."""

    def __init__(
        self, clock: Callable[[], float], unix_clock: Callable[[], float], blocks: SharedBlocks | None = None
    ) -> None:
        """Count in blocks of `BLOCK_BYTES`; None: this process alone.

        `clock` is monotonic and the same in every process of the machine.
        """
        blocks = blocks or SharedBlocks(None, BLOCK_BYTES)
        self.models: dict[Task, ModelTraffic] = {
            task: ModelTraffic(clock, blocks, index * _MODEL_WORDS) for index, task in enumerate(TASKS)
        }
        self.reroutes = RerouteLog(unix_clock, blocks, len(TASKS) * _MODEL_WORDS)
        self.lanes = LaneReadings(clock, blocks, len(TASKS) * _MODEL_WORDS + REROUTE_WORDS)


class ModelTraffic:
    """One model's calls: those that ended lately, and those in flight."""

    def __init__(self, clock: Callable[[], float], blocks: SharedBlocks, offset: int) -> None:
        """Count from word `offset` of each block: the calls in flight, then the table of those that ended."""
        self._blocks = blocks
        self._offset = offset
        table = slice(offset + 1, offset + 1 + TABLE_WORDS)
        self.rolling = Rolling(clock, blocks.words[table], lambda: (block.words[table] for block in blocks.all()))
        blocks.words[offset] = 0  # the process that had this block before has no calls in flight any more

    @property
    def in_flight(self) -> int:
        """Calls in flight of every process that lives."""
        return sum(block.words[self._offset] for block in self._blocks.all() if block.alive)

    def begin(self) -> None:
        """Count a call as in flight."""
        self._blocks.words[self._offset] += 1

    def end(self) -> None:
        """Count it no longer."""
        self._blocks.words[self._offset] -= 1


class MeasuringDispatcher:
    """A `trivet.dispatch.protocol.Dispatcher` that measures the calls to another one."""

    def __init__(self, inner: Dispatcher, traffic: Traffic, sink: MetricsSink, clock: Callable[[], float]) -> None:
        """Measure with `clock`, by which call logs begin."""
        self._inner = inner
        self._traffic = traffic
        self._sink = sink
        self._clock = clock
        self._labels: dict[tuple[Task, Lane], tuple[dict[str, str], ...]] = {}

    async def call(self, request: Request[ResultT]) -> Routed[ResultT]:
        """Forward the call and count how it ended."""
        task = request.task
        traffic = self._traffic.models[task]
        started_s = self._clock()
        traffic.begin()
        try:
            routed = await self._inner.call(request)
        except InvalidInput as error:
            self._count_failure(task, error)
            raise  # the caller's mistake is no failure of the model
        except BaseException as error:  # so is a cancellation, which most often is a deadline that has passed
            self._count_failure(task, error)
            traffic.rolling.failed()
            raise
        finally:
            traffic.end()
        total_s = self._clock() - started_s
        reason = routed.reroute_reason
        traffic.rolling.answered(total_s, tokens=routed.result.usage.tokens, rerouted=reason is not None)
        if reason is not None:
            self._traffic.reroutes.add(task, reason)
        self._observe(task, routed, started_s, total_s)
        return routed

    def _count_failure(self, task: Task, error: BaseException) -> None:
        self._sink.count(CALL_FAILURES, {"model": task, "error": type(error).__name__})

    def _observe(self, task: Task, routed: Routed[EngineResult], started_s: float, total_s: float) -> None:
        timings, usage = routed.result.timings, routed.result.usage
        admit, tokenize, queue, forward, total = self._stage_labels(task, routed.lane)
        self._sink.observe(STAGE_SECONDS, tokenize, timings.tokenize_s)
        self._sink.observe(STAGE_SECONDS, queue, timings.queue_s)
        self._sink.observe(STAGE_SECONDS, forward, timings.forward_s)
        self._sink.observe(STAGE_SECONDS, total, total_s)
        log = current_call_log()
        if log is None:
            return
        if not log.totals:  # later calls of a request waited for earlier ones, not to be admitted
            self._sink.observe(STAGE_SECONDS, admit, started_s - log.started_s)
        log.totals_of(task, routed.lane, routed.result.device).add(usage.tokens, usage.sequences, timings, total_s)
        if routed.reroute_reason is not None:
            log.reroute_reasons[routed.reroute_reason] = None

    def _stage_labels(self, model: Task, lane: Lane) -> tuple[dict[str, str], ...]:
        """Return one set of labels per stage, built once: there are at most six pairs."""
        labels = self._labels.get((model, lane))
        if labels is None:
            labels = tuple({"stage": stage, "model": model, "lane": lane} for stage in STAGES)
            self._labels[model, lane] = labels
        return labels
