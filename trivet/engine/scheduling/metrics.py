"""Reports the metrics of one engine: each forward as it ends, and the queue whenever it is sampled."""

from trivet.engine.batch.token_batch import TokenBatch
from trivet.metrics import (
    ABANDONED_TOKENS,
    BATCH_SECONDS,
    BATCH_SEQUENCES,
    FORWARD_FAILURES,
    INTERRUPTIONS,
    NO_METRICS,
    PADDED_TOKENS,
    QUEUE_OLDEST,
    QUEUE_SEQUENCES,
    QUEUE_TOKENS,
    TOKEN_BUDGET,
    TOKENS,
    MetricsSink,
)


class EngineMetrics:
    """Reports under the labels of one model on one lane. Called once per forward, never per sequence."""

    def __init__(self, sink: MetricsSink, *, model: str, lane: str) -> None:
        self._sink = sink
        self._labels = {"model": model, "lane": lane}

    def forwarded(self, batch: TokenBatch, computed_tokens: int, seconds: float) -> None:
        """Report a forward that has ended; `computed_tokens` include padding."""
        self._sink.observe(BATCH_SECONDS, self._labels, seconds)
        self._sink.observe(BATCH_SEQUENCES, self._labels, len(batch.lengths))
        self._sink.count(TOKENS, self._labels, batch.tokens)
        self._sink.count(PADDED_TOKENS, self._labels, computed_tokens)

    def interrupted(self) -> None:
        """Report a shorter batch that runs between two steps of a long forward."""
        self._sink.count(INTERRUPTIONS, self._labels)

    def abandoned(self, batch: TokenBatch) -> None:
        """Report a forward that ended between two of its steps, because all its callers had left."""
        self._sink.count(ABANDONED_TOKENS, self._labels, batch.tokens)

    def failed(self, error: Exception) -> None:
        """Report a forward that has raised."""
        self._sink.count(FORWARD_FAILURES, {**self._labels, "error": type(error).__name__})

    def queue(self, *, sequences: int, tokens: int, oldest_s: float, token_budget: int) -> None:
        """Report the queue, and the budget of the next forward."""
        self._sink.set(QUEUE_SEQUENCES, self._labels, sequences)
        self._sink.set(QUEUE_TOKENS, self._labels, tokens)
        self._sink.set(QUEUE_OLDEST, self._labels, oldest_s)
        self._sink.set(TOKEN_BUDGET, self._labels, token_budget)


UNMEASURED = EngineMetrics(NO_METRICS, model="", lane="")
