"""Exports Trivet's metrics with Ray's, on the node's Prometheus endpoint as `ray_trivet_…`.

Ray exports them every 10 s (`RAY_metrics_report_interval_ms`). The counts of a histogram are exact, but Ray estimates
`_sum` from the buckets. Quantiles are therefore correct, and averages computed from `_sum` are not.
"""

from collections import deque

import psutil
from ray.util.metrics import Counter, Gauge, Histogram

from trivet.metrics import RESIDENT, Labels, Metric, MetricsSink

RECORDED_AT_ONCE = 256


class RaySink:
    """A `trivet.metrics.MetricsSink` that creates each Ray metric on first use.

    Counts and observations wait until there are 256 of them or a gauge is set, which every process does within seconds:
    Ray takes them several times as fast in a row as one at a time between other work.
    """

    def __init__(self) -> None:
        self._waiting: deque[tuple[Metric, Labels, float]] = deque()  # safe between threads
        self._counters: dict[str, Counter] = {}
        self._gauges: dict[str, Gauge] = {}
        self._histograms: dict[str, Histogram] = {}

    def count(self, metric: Metric, labels: Labels, amount: float = 1.0) -> None:
        """See `MetricsSink`."""
        if amount != 0:  # Ray refuses it
            self._wait(metric, labels, amount)

    def observe(self, metric: Metric, labels: Labels, value: float) -> None:
        """See `MetricsSink`."""
        self._wait(metric, labels, value)

    def set(self, metric: Metric, labels: Labels, value: float) -> None:
        """See `MetricsSink`."""
        gauge = self._gauges.get(metric.name)
        if gauge is None:
            gauge = self._gauges[metric.name] = Gauge(metric.name, metric.description, metric.labels)
        gauge.set(float(value), dict(labels))
        self._record()

    def _wait(self, metric: Metric, labels: Labels, value: float) -> None:
        self._waiting.append((metric, labels, float(value)))
        if len(self._waiting) >= RECORDED_AT_ONCE:
            self._record()

    def _record(self) -> None:
        """Hand over what waits."""
        for _ in range(len(self._waiting)):
            try:
                metric, labels, value = self._waiting.popleft()
            except IndexError:  # another thread was quicker
                return
            if metric.kind == "counter":
                self._counter(metric).inc(value, dict(labels))
            else:
                self._histogram(metric).observe(value, dict(labels))

    def _counter(self, metric: Metric) -> Counter:
        counter = self._counters.get(metric.name)
        if counter is None:
            counter = self._counters[metric.name] = Counter(metric.name, metric.description, metric.labels)
        return counter

    def _histogram(self, metric: Metric) -> Histogram:
        histogram = self._histograms.get(metric.name)
        if histogram is None:
            histogram = Histogram(metric.name, metric.description, list(metric.boundaries), metric.labels)
            self._histograms[metric.name] = histogram
        return histogram


def report_memory(sink: MetricsSink, process: str) -> None:
    """Report the resident memory of this process under the given name, of which there must be few."""
    sink.set(RESIDENT, {"process": process}, psutil.Process().memory_info().rss)
