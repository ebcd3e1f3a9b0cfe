"""Sinks without a server: `NO_METRICS` drops what it is told, `MemorySink` keeps it for tests and notebooks."""

from trivet.metrics import Kind, Labels, Metric


class DroppingSink:
    """Keeps nothing."""

    def count(self, metric: Metric, labels: Labels, amount: float = 1.0) -> None:
        """See `MetricsSink`."""

    def observe(self, metric: Metric, labels: Labels, value: float) -> None:
        """See `MetricsSink`."""

    def set(self, metric: Metric, labels: Labels, value: float) -> None:
        """See `MetricsSink`."""


NO_METRICS = DroppingSink()

_Series = tuple[str, tuple[tuple[str, str], ...]]


class MemorySink:
    """Keeps everything in this process, and refuses what a real endpoint would: wrong kinds, wrong labels."""

    def __init__(self) -> None:
        self._values: dict[_Series, float] = {}
        self._observed: dict[_Series, list[float]] = {}

    def count(self, metric: Metric, labels: Labels, amount: float = 1.0) -> None:
        """See `MetricsSink`."""
        series = _series(metric, labels, "counter")
        if amount < 0:
            raise ValueError(f"{metric.name} counts up, not by {amount}")
        self._values[series] = self._values.get(series, 0.0) + amount

    def observe(self, metric: Metric, labels: Labels, value: float) -> None:
        """See `MetricsSink`."""
        self._observed.setdefault(_series(metric, labels, "histogram"), []).append(value)

    def set(self, metric: Metric, labels: Labels, value: float) -> None:
        """See `MetricsSink`."""
        self._values[_series(metric, labels, "gauge")] = value

    def value(self, metric: Metric, **labels: str) -> float:
        """What a counter or a gauge stands at; 0 for one that was never touched."""
        return self._values.get(_series(metric, labels, metric.kind), 0.0)

    def observed(self, metric: Metric, **labels: str) -> list[float]:
        """What a histogram was given."""
        return self._observed.get(_series(metric, labels, "histogram"), [])

    def touched(self) -> frozenset[str]:
        """Names of the metrics that have a value."""
        return frozenset(name for name, _ in (*self._values, *self._observed))


def _series(metric: Metric, labels: Labels, kind: Kind) -> _Series:
    if metric.kind != kind:
        raise ValueError(f"{metric.name} is a {metric.kind}, not a {kind}")
    if set(labels) != set(metric.labels):
        raise ValueError(f"{metric.name} takes the labels {metric.labels}, not {tuple(labels)}")
    return metric.name, tuple(sorted(labels.items()))
