"""Measurements as a picture: quality against waiting time, a panel for each set. Needs matplotlib."""

from collections.abc import Sequence
from pathlib import Path

from trivet.evaluation.measure import Measured

_MAIN_FIGURE = ("nDCG@10", "macro-F1")
"""What a panel shows of a ranking, and of a labelling."""


def draw(measured: Sequence[tuple[str, Measured]], path: Path) -> None:
    """Write the picture; the ending of `path` decides the format (SVG, PNG, PDF).

    Each point is a trio's way through its models: to the right is slower, up is better.
    """
    from matplotlib.figure import Figure  # without pyplot: no display, no global state

    sets = list(dict.fromkeys(one.set_name for _, one in measured))
    figure = Figure(figsize=(4.2 * len(sets), 3.6), layout="constrained")
    for axes, set_name in zip(figure.subplots(1, len(sets), squeeze=False)[0], sets, strict=True):
        rows = [(trio, one) for trio, one in measured if one.set_name == set_name]
        name = next(figure_name for figure_name in _MAIN_FIGURE if figure_name in rows[0][1].figures)
        for trio, one in rows:
            label = f"{trio}: {one.way}"
            points = axes.scatter(one.latency.p50_ms, one.figures[name], label=label)
            # A line to the 95th percentile: what one request in twenty waits at least.
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
