"""Plots quality against latency, one panel per set. Needs matplotlib."""

from collections.abc import Sequence
from pathlib import Path

from trivet.evaluation.measure import Measured

_MAIN_FIGURE = ("nDCG@10", "macro-F1")
"""The figure that a panel shows, of rankings and of labels."""


def draw(measured: Sequence[tuple[str, Measured]], path: Path) -> None:
    """Write the plot of (name of the service, measurement) pairs; the suffix of `path` selects SVG, PNG or PDF.

    Each point is one measurement. Further right is slower, further up is better.
    """
    from matplotlib.figure import Figure  # without pyplot: no display, no global state

    sets = list(dict.fromkeys(one.set_name for _, one in measured))
    figure = Figure(figsize=(4.2 * len(sets), 3.6), layout="constrained")
    for axes, set_name in zip(figure.subplots(1, len(sets), squeeze=False)[0], sets, strict=True):
        rows = [(service, one) for service, one in measured if one.set_name == set_name]
        name = next(figure_name for figure_name in _MAIN_FIGURE if figure_name in rows[0][1].figures)
        for service, one in rows:
            label = f"{service}: {one.way}"
            points = axes.scatter(one.latency.p50_ms, one.figures[name], label=label)
            # A line to the 95th percentile of the latency.
            axes.hlines(
                one.figures[name],
                one.latency.p50_ms,
                one.latency.p95_ms,
                points.get_facecolor(),
                linewidth=1,
                alpha=0.6,
            )
        axes.set(title=f"{set_name} ({rows[0][1].items})", xlabel="ms per request, p50 to p95", ylabel=name)
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter("{x:g}")
        axes.set_ylim(0, 1)
        axes.grid(alpha=0.3)
        axes.legend(fontsize="small", loc="lower right")
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)
