"""One daemon thread that runs blocking calls with a deadline.

A driver call can hang for minutes and cannot be interrupted. The caller gets `CallTimedOut` when the deadline passes.
Every later call fails immediately with `StillHanging` until the hung call returns, so one stuck call never occupies
more than one thread. The late result is discarded.
"""

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import Generic, TypeVar

T = TypeVar("T")


class CallTimedOut(Exception):
    """The call did not return within its deadline and is still running."""


class StillHanging(Exception):
    """An earlier call has not returned yet, so this one was not started."""


class DeadlineThread(Generic[T]):
    """Runs calls that return `T`, one at a time, on a dedicated thread that the first call starts.

    Meant for one calling thread: a concurrent second caller gets `StillHanging`.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._calls: queue.SimpleQueue[tuple[Callable[[], T], Future[T]]] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._idle = threading.Semaphore(1)  # the worker releases it when a call returns, however late

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
            if result.done():  # the function itself raised a TimeoutError, or has just returned
                return result.result()
            raise CallTimedOut from None

    def _work(self) -> None:
        while True:
            function, result = self._calls.get()
            try:
                value = function()
            except BaseException as error:  # noqa: BLE001 - the future hands every error to the caller
                self._idle.release()
                result.set_exception(error)
            else:
                self._idle.release()
                result.set_result(value)
