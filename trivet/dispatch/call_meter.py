"""Measures each engine call: stage latencies as metrics, and its share in the record of the request it belongs to."""

from trivet.api.middleware.telemetry import Telemetry
from trivet.api.request_context import current_record
from trivet.config import Task
from trivet.dispatch.protocol import Routed
from trivet.messages import EngineResult
from trivet.metrics import CALL_FAILURES, STAGE_SECONDS, STAGES


class CallMeter:
    """Told of every call by `trivet.dispatch.traffic`, once, when it has ended."""

    def __init__(self, telemetry: Telemetry) -> None:
        self._sink = telemetry.sink
        self._labels: dict[tuple[str, str], tuple[dict[str, str], ...]] = {}

    def answered(self, model: Task, routed: Routed[EngineResult], started_s: float, total_s: float) -> None:
        """A call has come back `total_s` after `started_s`, on the clock of the request's record."""
        timings, usage = routed.result.timings, routed.result.usage
        admit, tokenize, queue, forward, total = self._stage_labels(model, routed.lane)
        self._sink.observe(STAGE_SECONDS, tokenize, timings.tokenize_s)
        self._sink.observe(STAGE_SECONDS, queue, timings.queue_s)
        self._sink.observe(STAGE_SECONDS, forward, timings.forward_s)
        self._sink.observe(STAGE_SECONDS, total, total_s)
        record = current_record()
        if record is None:
            return
        if not record.calls:  # a later call of the request waited for earlier ones, not to be admitted
            self._sink.observe(STAGE_SECONDS, admit, started_s - record.started_s)
        record.calls_to(model, routed.lane, routed.result.device).add(usage.tokens, usage.sequences, timings, total_s)
        if routed.reroute_reason is not None:
            record.reroute_reasons[routed.reroute_reason] = None

    def failed(self, model: Task, error: BaseException) -> None:
        """A call has raised, or was given up."""
        self._sink.count(CALL_FAILURES, {"model": model, "error": type(error).__name__})

    def _stage_labels(self, model: str, lane: str) -> tuple[dict[str, str], ...]:
        """One set of labels per stage, built once: there are at most six pairs."""
        key = (model, lane)
        if key not in self._labels:
            self._labels[key] = tuple({"stage": stage, "model": model, "lane": lane} for stage in STAGES)
        return self._labels[key]
