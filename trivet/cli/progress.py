"""Shows a progress bar on stderr if it is a terminal."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)


@contextmanager
def bar(console: Console, what: str, total: int) -> Iterator[Callable[[int], None]]:
    """Show a bar of items; yield the function to call with the number of newly finished items."""
    with _bar(console, what, total, MofNCompleteColumn()) as advance:
        yield advance


@contextmanager
def byte_bar(console: Console, what: str, total_bytes: int) -> Iterator[Callable[[int], None]]:
    """Show a bar of bytes; yield the function to call with the number of newly processed bytes."""
    with _bar(console, what, total_bytes, DownloadColumn(binary_units=True)) as advance:
        yield advance


@contextmanager
def _bar(console: Console, what: str, total: int, amount: ProgressColumn) -> Iterator[Callable[[int], None]]:
    columns = (TextColumn("{task.description}"), BarColumn(), amount, TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as progress:
        task = progress.add_task(what, total=total)
        yield lambda count: progress.advance(task, count)
