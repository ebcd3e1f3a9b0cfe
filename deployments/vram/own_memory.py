"""What this process holds of its GPU, as the driver states it, and the record of what lies outside its allocator."""

import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

from trivet.engine.cuda.identity import current_gpu_uuid
from trivet.units import format_bytes
from trivet.vram.contexts import keep_context
from trivet.vram.deadline import CallTimedOut, DeadlineThread, StillHanging
from trivet.vram.nvml import GpuUnreadable, driver_and_gpu, process_bytes

logger = logging.getLogger("ray.serve")

_TIMEOUT_S: Final = 3.0
"""The driver may take seconds to answer for the first time; weights that return wait for it."""
_DRIVER: Final = DeadlineThread[Any]("own-gpu-memory")

T = TypeVar("T")


_warned: set[str] = set()


def _warn_once(message: str, *arguments: object) -> None:
    """Log a warning unless it was logged before: the driver is asked again and again."""
    if (text := message % arguments) not in _warned:
        _warned.add(text)
        logger.warning("%s", text)


class _NoAnswer(Exception):
    """The driver was asked in vain; the message says why."""


def _ask(question: Callable[[], T]) -> T:
    try:
        answer: T = _DRIVER.call(question, timeout_s=_TIMEOUT_S)
    except GpuUnreadable as error:
        raise _NoAnswer(error.reason) from error
    except (CallTimedOut, StillHanging) as error:
        raise _NoAnswer(f"NVML has not answered for {_TIMEOUT_S:g} s") from error
    return answer


def own_gpu_bytes() -> int | None:
    """Return what this process holds of its GPU; None, with the reason in the log, if the driver does not say."""
    uuid, pid = current_gpu_uuid(), os.getpid()
    try:
        found = _ask(lambda: process_bytes(uuid, pid))
    except _NoAnswer as error:
        _warn_once("the driver does not say what this process holds of %s: %s", uuid, error)
        return None
    if found is None:
        _warn_once("the driver does not list this process on %s: the size of its CUDA context is assumed", uuid)
    return found


def keep_measured_context(cache: Path, gpu_uuid: str, context_bytes: int | None) -> None:
    """Keep what this process was measured to hold outside its allocator, for `trivet plan` and `trivet doctor`."""
    if context_bytes is None:
        return
    try:
        keep_context(cache, _ask(lambda: driver_and_gpu(gpu_uuid)), context_bytes)
    except (_NoAnswer, OSError) as error:
        _warn_once("a CUDA context of %s was measured and is not kept: %s", format_bytes(context_bytes), error)
