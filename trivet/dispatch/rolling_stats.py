"""Statistics of one model's calls for each of the last 120 seconds. Pure apart from the injected clock.

Each second has a histogram of latencies whose steps grow by a tenth. So a percentile is off by at most 5 %, and memory
is bounded by the number of steps, however many calls there are. Not thread-safe: for one event loop.
"""

import math
from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

KEPT_S = 120
"""Seconds of history."""

_STEP = math.log(1.1)
_FINEST_S = 1e-4


@dataclass(slots=True)
class _Second:
    """One second's counts; `second` is the integer part of the clock."""

    second: int
    calls: int = 0
    failed: int = 0
    rerouted: int = 0
    tokens: int = 0
    latencies: Counter[int] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class Summary:
    """Sums over a span; percentiles are None where no call was answered."""

    calls: int
    failed: int
    rerouted: int
    tokens: int
    p50_s: float | None
    p95_s: float | None


@dataclass(frozen=True, slots=True)
class Series:
    """Complete seconds, the oldest first."""

    calls: tuple[int, ...]
    tokens: tuple[int, ...]
    p50_s: tuple[float | None, ...]


class Rolling:
    """Counts calls as they end."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        # Only seconds in which a call ended; one more than is shown, for the incomplete current second.
        self._seconds: deque[_Second] = deque(maxlen=KEPT_S + 1)

    def answered(self, latency_s: float, *, tokens: int, rerouted: bool) -> None:
        """Count a call that returned a result."""
        second = self._now()
        second.calls += 1
        second.tokens += tokens
        second.rerouted += rerouted
        second.latencies[_step_of(latency_s)] += 1

    def failed(self) -> None:
        """Count a call that returned none."""
        second = self._now()
        second.calls += 1
        second.failed += 1

    def summary(self, span_s: int = 60) -> Summary:
        """Sum up the last `span_s` seconds, the current one included."""
        oldest = int(self._clock()) - span_s
        recent = [second for second in self._seconds if second.second > oldest]
        latencies: Counter[int] = Counter()
        for second in recent:
            latencies.update(second.latencies)
        return Summary(
            calls=sum(second.calls for second in recent),
            failed=sum(second.failed for second in recent),
            rerouted=sum(second.rerouted for second in recent),
            tokens=sum(second.tokens for second in recent),
            p50_s=_percentile(latencies.items(), 0.50),
            p95_s=_percentile(latencies.items(), 0.95),
        )

    def series(self) -> Series:
        """Return every complete second of the history; idle ones are zeros."""
        now = int(self._clock())
        kept = {second.second: second for second in self._seconds}
        seconds = [kept.get(second) or _Second(second) for second in range(now - KEPT_S, now)]
        return Series(
            calls=tuple(second.calls for second in seconds),
            tokens=tuple(second.tokens for second in seconds),
            p50_s=tuple(_percentile(second.latencies.items(), 0.50) for second in seconds),
        )

    def _now(self) -> _Second:
        second = int(self._clock())
        if not self._seconds or self._seconds[-1].second < second:
            self._seconds.append(_Second(second))
        return self._seconds[-1]


def _step_of(latency_s: float) -> int:
    return round(math.log(max(latency_s, _FINEST_S) / _FINEST_S) / _STEP)


def _percentile(counted: Iterable[tuple[int, int]], share: float) -> float | None:
    steps = sorted(counted)
    total = sum(count for _, count in steps)
    wanted = math.ceil(share * total)
    for step, count in steps:
        wanted -= count
        if wanted <= 0:
            return _FINEST_S * math.exp(step * _STEP)
    return None
