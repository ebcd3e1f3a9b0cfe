"""One daemon thread that runs blocking calls against a deadline.

A driver call can hang for minutes and cannot be interrupted. The caller gets `CallTimedOut` when the deadline passes
and `StillHanging` at once on every later call, until the hung call comes back by itself: one stuck call costs one
thread, however often it is asked again. The late result is thrown away.
"""

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import Generic, TypeVar

T = TypeVar("T")


class CallTimedOut(Exception):
    """The call did not return within its deadline and still runs."""


class StillHanging(Exception):
    """An earlier call has not returned yet, so this one was not begun."""


class DeadlineThread(Generic[T]):
    """Runs calls that return `T` one at a time on a thread of its own, which starts with the first call.

    Meant for one calling thread; a second caller meanwhile gets `StillHanging`.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._calls: queue.SimpleQueue[tuple[Callable[[], T], Future[T]]] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._idle = threading.Semaphore(1)  # released by the worker when a call has come back, however late

    def call(self, function: Callable[[], T], *, timeout_s: float) -> T:
        """Return `function()`, or raise what it raises, `CallTimedOut` or `StillHanging`."""
        if not self._idle.acquire(blocking=False):
            raise StillHanging
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name=self._name, daemon=True)
            self._thread.start()
        result: Future[T] = Future()
        self._calls.put((function, result))
        try:
            return result.result(timeout=timeout_s)
        except FutureTimeoutError:
            if result.done():  # the function itself raised a TimeoutError, or came back this very moment
                return result.result()
            raise CallTimedOut from None

    def _work(self) -> None:
        while True:
            function, result = self._calls.get()
            try:
                value = function()
            except BaseException as error:  # noqa: BLE001 - handed to the caller through the future, none is lost
                self._idle.release()
                result.set_exception(error)
            else:
                self._idle.release()
                result.set_result(value)
