"""A sink that keeps metrics in memory, so that tests can read them."""

from trivet.metrics import Kind, Labels, Metric

_Series = tuple[str, tuple[tuple[str, str], ...]]


class MemorySink:
    """Keeps all values, and rejects those that a real endpoint would reject: wrong kinds, wrong labels."""

    def __init__(self) -> None:
        self._values: dict[_Series, float] = {}
        self._observed: dict[_Series, list[float]] = {}

    def count(self, metric: Metric, labels: Labels, amount: float = 1.0) -> None:
        series = _series(metric, labels, "counter")
        if amount < 0:
            raise ValueError(f"{metric.name} counts up, not by {amount}")
        self._values[series] = self._values.get(series, 0.0) + amount

    def observe(self, metric: Metric, labels: Labels, value: float) -> None:
        self._observed.setdefault(_series(metric, labels, "histogram"), []).append(value)

    def set(self, metric: Metric, labels: Labels, value: float) -> None:
        self._values[_series(metric, labels, "gauge")] = value

    def value(self, metric: Metric, **labels: str) -> float:
        """Return the value of a counter or a gauge; 0 if it was never set."""
        return self._values.get(_series(metric, labels, metric.kind), 0.0)

    def observed(self, metric: Metric, **labels: str) -> list[float]:
        """Return the values of a histogram."""
        return self._observed.get(_series(metric, labels, "histogram"), [])

    def touched(self) -> frozenset[str]:
        """Return the names of the metrics that have a value."""
        return frozenset(name for name, _ in (*self._values, *self._observed))


def _series(metric: Metric, labels: Labels, kind: Kind) -> _Series:
    if metric.kind != kind:
        raise ValueError(f"{metric.name} is a {metric.kind}, not a {kind}")
    if set(labels) != set(metric.labels):
        raise ValueError(f"{metric.name} takes the labels {metric.labels}, not {tuple(labels)}")
    return metric.name, tuple(sorted(labels.items()))
