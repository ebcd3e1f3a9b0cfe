"""What one engine reports about itself: each forward as it ends, and its queue whenever somebody samples it."""

from trivet.engine.batch.sequences import TokenBatch
from trivet.metric_sinks import NO_METRICS
from trivet.metrics import (
    ABANDONED_TOKENS,
    BATCH_ROWS,
    BATCH_SECONDS,
    FORWARD_FAILURES,
    INTERRUPTIONS,
    PADDED_TOKENS,
    QUEUE_OLDEST,
    QUEUE_ROWS,
    QUEUE_TOKENS,
    TOKEN_BUDGET,
    TOKENS,
    MetricsSink,
)


class EngineMetrics:
    """Reports under the labels of one model on one lane. Called once per forward, never per row."""

    def __init__(self, sink: MetricsSink, *, model: str, lane: str) -> None:
        self._sink = sink
        self._labels = {"model": model, "lane": lane}

    def forwarded(self, batch: TokenBatch, computed_tokens: int, seconds: float) -> None:
        """A forward has come back, having computed so many tokens, useful ones and others."""
        self._sink.observe(BATCH_SECONDS, self._labels, seconds)
        self._sink.observe(BATCH_ROWS, self._labels, len(batch.input_ids))
        self._sink.count(TOKENS, self._labels, batch.useful_tokens)
        self._sink.count(PADDED_TOKENS, self._labels, computed_tokens)

    def interrupted(self) -> None:
        """A shorter batch has overtaken a long forward, between two of its steps."""
        self._sink.count(INTERRUPTIONS, self._labels)

    def abandoned(self, batch: TokenBatch) -> None:
        """Everybody who waited for a forward has left, and it was ended between two of its steps."""
        self._sink.count(ABANDONED_TOKENS, self._labels, batch.useful_tokens)

    def failed(self, error: Exception) -> None:
        """A forward has raised."""
        self._sink.count(FORWARD_FAILURES, {**self._labels, "error": type(error).__name__})

    def queue(self, *, rows: int, tokens: int, oldest_s: float, token_budget: int) -> None:
        """What waits now, and how much of it the next forward may take."""
        self._sink.set(QUEUE_ROWS, self._labels, rows)
        self._sink.set(QUEUE_TOKENS, self._labels, tokens)
        self._sink.set(QUEUE_OLDEST, self._labels, oldest_s)
        self._sink.set(TOKEN_BUDGET, self._labels, token_budget)


UNMEASURED = EngineMetrics(NO_METRICS, model="", lane="")
