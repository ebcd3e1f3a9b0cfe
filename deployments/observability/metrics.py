"""Exports Trivet's metrics with Ray's, on the node's Prometheus endpoint as `ray_trivet_…`.

Ray exports them every 10 s (`RAY_metrics_report_interval_ms`). The counts of a histogram are exact, but Ray estimates
`_sum` from the buckets. Quantiles are therefore correct, and averages computed from `_sum` are not.
"""

import psutil
from ray.util.metrics import Counter, Gauge, Histogram

from trivet.metrics import RESIDENT, Labels, Metric, MetricsSink


class RaySink:
    """A `trivet.metrics.MetricsSink` that creates each Ray metric on first use."""

    def __init__(self) -> None:
        self._counters: dict[str, Counter] = {}
        self._gauges: dict[str, Gauge] = {}
        self._histograms: dict[str, Histogram] = {}

    def count(self, metric: Metric, labels: Labels, amount: float = 1.0) -> None:
        """See `MetricsSink`."""
        if amount == 0:
            return  # Ray refuses it
        counter = self._counters.get(metric.name)
        if counter is None:
            counter = self._counters[metric.name] = Counter(metric.name, metric.description, metric.labels)
        counter.inc(float(amount), dict(labels))

    def observe(self, metric: Metric, labels: Labels, value: float) -> None:
        """See `MetricsSink`."""
        histogram = self._histograms.get(metric.name)
        if histogram is None:
            histogram = Histogram(metric.name, metric.description, list(metric.boundaries), metric.labels)
            self._histograms[metric.name] = histogram
        histogram.observe(float(value), dict(labels))

    def set(self, metric: Metric, labels: Labels, value: float) -> None:
        """See `MetricsSink`."""
        gauge = self._gauges.get(metric.name)
        if gauge is None:
            gauge = self._gauges[metric.name] = Gauge(metric.name, metric.description, metric.labels)
        gauge.set(float(value), dict(labels))


def report_memory(sink: MetricsSink, process: str) -> None:
    """Report the resident memory of this process under the given name, of which there must be few."""
    sink.set(RESIDENT, {"process": process}, psutil.Process().memory_info().rss)
