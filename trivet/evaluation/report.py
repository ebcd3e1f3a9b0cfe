"""Measurements as tables for people and as records for programs."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rich import box
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

from trivet.evaluation.measure import LABELLING, RANKING, Measured

FIGURES = (*RANKING, *LABELLING)
"""In the order of the columns."""
_ANY_WIDTH = 10_000


def records(measured: Sequence[tuple[str, Measured]]) -> list[dict[str, Any]]:
    """One record for each measurement, figures and milliseconds unrounded. Each comes with the trio's name."""
    return [
        {
            "trio": trio,
            "set": one.set_name,
            "way": one.way,
            "items": one.items,
            **one.figures,
            **asdict(one.latency),
        }
        for trio, one in measured
    ]


def show(measured: Sequence[tuple[str, Measured]], console: Console) -> None:
    """Print one table of rankings and one of labellings, whole: a figure cut to fit a narrow pipe is worth nothing."""
    for rows in _by_kind(measured):
        table = _table(rows)
        needed = Measurement.get(console, console.options.update(max_width=_ANY_WIDTH), table).maximum
        console.width = max(console.width, needed)
        console.print(table)


def _by_kind(measured: Sequence[tuple[str, Measured]]) -> list[list[tuple[str, Measured]]]:
    rankings = [row for row in measured if RANKING[0] in row[1].figures]
    labellings = [row for row in measured if RANKING[0] not in row[1].figures]
    return [rows for rows in (rankings, labellings) if rows]


def _table(measured: Sequence[tuple[str, Measured]]) -> Table:
    """One row for each measurement; the trio is named where there are several."""
    several = len({trio for trio, _ in measured}) > 1
    shown = [name for name in FIGURES if any(name in one.figures for _, one in measured)]
    found = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in (*(["trio"] if several else []), "set", "models"):
        found.add_column(heading, no_wrap=True)
    for heading in ("items", *shown, "p50 ms", "p95 ms", "ms/item"):
        found.add_column(heading, justify="right", no_wrap=True)
    # The same set and models of several trios stand below each other: they are what is to be compared.
    order = list(dict.fromkeys((one.set_name, one.way) for _, one in measured))
    for trio, one in sorted(measured, key=lambda row: order.index((row[1].set_name, row[1].way))):
        figures = [f"{one.figures[name]:.3f}" if name in one.figures else "" for name in shown]
        times = [f"{ms:.1f}" for ms in (one.latency.p50_ms, one.latency.p95_ms, one.latency.item_ms)]
        found.add_row(*([trio] if several else []), one.set_name, one.way, str(one.items), *figures, *times)
    return found
