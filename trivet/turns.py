"""Takes turns between long pieces of work, such as tokenising a request of many megabytes.

Work comes in steps. Whichever work is least far on, its next step included, has the next turn: a caller of little work
waits for one step of the others, and callers of much work advance together.
"""

import heapq
import threading
from collections.abc import Generator
from concurrent.futures import Future
from itertools import count
from typing import Any, TypeVar

T = TypeVar("T")

Steps = Generator[int, None, T]
"""Yields the size of each step before it is done, and returns the result."""


def finish(steps: Steps[T]) -> T:
    """Do all steps in this thread."""
    while True:
        try:
            next(steps)
        except StopIteration as stop:
            result: T = stop.value
            return result


class Turns:
    """A few threads that share out the steps of any number of works."""

    def __init__(self, threads: int, name: str) -> None:
        self._waiting: list[tuple[int, int, int, Steps[Any], Future[Any]]] = []
        self._numbers = count()
        self._changed = threading.Condition()
        self._closed = False
        self._threads = [threading.Thread(target=self._run, name=f"{name}_{n}", daemon=True) for n in range(threads)]
        for thread in self._threads:
            thread.start()

    def submit(self, steps: Steps[T]) -> Future[T]:
        """Add work. It ends at its next step if the future is cancelled."""
        future: Future[T] = Future()
        self._add(0, 0, steps, future)
        return future

    def close(self) -> None:
        """Cancel what waits, and wait for the steps under way."""
        with self._changed:
            self._closed = True
            for *_, future in self._waiting:
                future.cancel()
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def _add(self, done: int, following: int, steps: Steps[Any], future: Future[Any]) -> None:
        with self._changed:
            if self._closed:
                future.cancel()
                return
            heapq.heappush(self._waiting, (done + following, next(self._numbers), following, steps, future))
            self._changed.notify()

    def _run(self) -> None:
        while (turn := self._next()) is not None:
            reached, _, _, steps, future = turn
            if future.cancelled():
                steps.close()
                continue
            try:
                following = next(steps)
            except StopIteration as stop:
                self._end(future, stop.value, None)
            except Exception as error:  # noqa: BLE001 - raised where the work was submitted
                self._end(future, None, error)
            else:
                self._add(reached, following, steps, future)
            del steps, turn  # else the last text would be kept until the next one arrives

    def _next(self) -> tuple[int, int, int, Steps[Any], Future[Any]] | None:
        with self._changed:
            while not self._waiting and not self._closed:
                self._changed.wait()
            return None if self._closed else heapq.heappop(self._waiting)

    def _end(self, future: Future[Any], result: Any, error: Exception | None) -> None:
        if future.set_running_or_notify_cancel():
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(result)
