"""Shows a progress bar on stderr if it is a terminal."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn


@contextmanager
def bar(console: Console, what: str, total: int) -> Iterator[Callable[[int], None]]:
    """Show a bar of items; yield the function to call with the number of newly finished items."""
    with _progress(console) as progress:
        task = progress.add_task(what, total=total)
        yield lambda count: progress.advance(task, count)


@contextmanager
def steps(console: Console, what: str) -> Iterator[Callable[[int, int], None]]:
    """Show a bar whose length is not known at first; yield the function to call with (finished items, all items)."""
    with _progress(console) as progress:
        task = progress.add_task(what, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


@contextmanager
def stages(console: Console) -> Iterator[Callable[[str, int, int], None]]:
    """Show a bar for each stage of the work; yield the function to call with (stage, finished items, all items)."""
    with _progress(console) as progress:
        tasks: dict[str, TaskID] = {}

        def show(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = progress.add_task(escape(stage), total=total)
            progress.update(tasks[stage], completed=done, total=total)

        yield show


def _progress(console: Console) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console, disable=not console.is_terminal, transient=True)
