"""Renders measurements as human-readable tables, and as records for programs."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rich import box
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

from trivet.evaluation.measure import LABELLING, RANKING, Measured

FIGURES = (*RANKING, *LABELLING)
"""All figures, in the order of the columns."""
_ANY_WIDTH = 10_000


def records(measured: Sequence[tuple[str, Measured]]) -> list[dict[str, Any]]:
    """Return one record for each (name of the service, measurement), with unrounded figures and milliseconds."""
    return [
        {
            "service": service,
            "set": one.set_name,
            "way": one.way,
            "items": one.items,
            **one.figures,
            **asdict(one.latency),
        }
        for service, one in measured
    ]


def show(measured: Sequence[tuple[str, Measured]], console: Console) -> None:
    """Print one table of rankings and one of labels, at full width even where the console is narrower."""
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
    """Build one row per measurement, with a column for the service if there are several."""
    several = len({service for service, _ in measured}) > 1
    shown = [name for name in FIGURES if any(name in one.figures for _, one in measured)]
    found = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in (*(["service"] if several else []), "set", "models"):
        found.add_column(heading, no_wrap=True)
    for heading in ("items", *shown, "p50 ms", "p95 ms", "ms/item"):
        found.add_column(heading, justify="right", no_wrap=True)
    # Rows of the same set and models are adjacent, so that services can be compared.
    order = list(dict.fromkeys((one.set_name, one.way) for _, one in measured))
    for service, one in sorted(measured, key=lambda row: order.index((row[1].set_name, row[1].way))):
        figures = [f"{one.figures[name]:.3f}" if name in one.figures else "" for name in shown]
        times = [f"{ms:.1f}" for ms in (one.latency.p50_ms, one.latency.p95_ms, one.latency.item_ms)]
        found.add_row(*([service] if several else []), one.set_name, one.way, str(one.items), *figures, *times)
    return found
