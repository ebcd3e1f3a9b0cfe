"""What is measured of forwards: for metrics, and how fast the device computes, which says what is too long."""

from typing import Final

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

_SMOOTHING: Final = 0.1
"""Weight of the newest forward."""

_LARGE_TOKENS: Final = 512
"""Forwards of so many tokens tell how fast the device computes. Smaller ones tell how fast it is reached."""

_STUCK_AT: Final = 10
"""Forwards that take so many times as long as their tokens usually do are stuck."""

_STUCK_UNMEASURED_AT: Final = 6
"""Where it is not known how long they usually take: so many times the shortest limit. The first one loads kernels."""


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


class Pace:
    """The measured pace of one device."""

    def __init__(self) -> None:
        self._tokens_per_s = 0.0
        self._large_tokens = self._large_s = 0.0  # of large forwards, the older the less

    def forward_ended(self, tokens: int, took_s: float) -> None:
        """Count one forward."""
        rate = tokens / max(took_s, 1e-6)
        self._tokens_per_s += _SMOOTHING * (rate - self._tokens_per_s) if self._tokens_per_s else rate
        if tokens >= _LARGE_TOKENS:
            self._large_tokens += tokens - _SMOOTHING * self._large_tokens
            self._large_s += took_s - _SMOOTHING * self._large_s

    def drain_s(self, waiting_tokens: int) -> float:
        """Seconds until half of the waiting tokens are done, at least 1; 1 before the first forward has ended."""
        if not self._tokens_per_s:
            return 1.0
        return max(1.0, 0.5 * waiting_tokens / self._tokens_per_s)

    def stuck_after_s(self, tokens: int, least_s: float) -> float:
        """Return how long forwards of so many tokens together may run, at least `least_s`."""
        is_measured = self._tokens_per_s if tokens < _LARGE_TOKENS else self._large_s
        if not is_measured:
            return _STUCK_UNMEASURED_AT * least_s
        usual_s = tokens * self._large_s / self._large_tokens if self._large_tokens else 0.0
        return max(least_s, _STUCK_AT * usual_s)
