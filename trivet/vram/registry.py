"""Who is ours: GPU replicas report their process and their allocator here; the probe joins that with what it sees.

A report is what a replica knows of itself and nobody else can tell: how much of "used" its allocator holds free,
whether its weights are on the GPU, and which PID it is. Reports older than `max_age_s` still say who owns a PID, but
their allocator figures no longer count: memory that is reported free and may be gone must not keep a model on the GPU.

Thread-safe. Starts no thread and asks no process anything.
"""

import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaReport:
    """One GPU replica about itself, at `at_s`."""

    model: str
    pid: int
    at_s: float
    held_bytes: int | None = None
    """What the replica's allocator took from the GPU (torch: `memory_reserved`), without its CUDA context; None
    while it does not know yet."""
    reusable_bytes: int = 0
    """The part of `held_bytes` that no tensor occupies."""
    weights_bytes: int = 0
    """What the weights take when they are on the GPU, also while they are not."""
    offloaded: bool = False
    """Whether the weights are off the GPU now."""


def process_exists(pid: int) -> bool:
    """Return whether a process with this PID is alive on this machine."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True  # alive, someone else's
    return True


class Registry:
    """The latest report of every GPU replica on this node.

    `max_age_s`: how long allocator figures count. `is_alive`: how to tell that a PID is gone, so that the report of a
    killed replica does not linger.
    """

    def __init__(self, *, max_age_s: float = 10.0, is_alive: Callable[[int], bool] = process_exists) -> None:
        self._max_age_s = max_age_s
        self._is_alive = is_alive
        self._reports: dict[int, ReplicaReport] = {}
        self._lock = threading.Lock()

    def report(self, report: ReplicaReport) -> None:
        """Take a replica's report; it replaces the earlier one of the same PID."""
        with self._lock:
            self._reports[report.pid] = report

    def forget(self, pid: int) -> None:
        """Drop a replica that said goodbye; unknown PIDs are fine."""
        with self._lock:
            self._reports.pop(pid, None)

    def view(self, now_s: float) -> "RegistryView":
        """Return what is known at `now_s`, after dropping processes that are gone."""
        with self._lock:
            for pid in [pid for pid in self._reports if not self._is_alive(pid)]:
                del self._reports[pid]
            reports = dict(self._reports)
        fresh = [pid for pid, report in reports.items() if now_s - report.at_s <= self._max_age_s]
        return RegistryView(reports=reports, fresh_pids=frozenset(fresh))


@dataclass(frozen=True, slots=True)
class RegistryView:
    """The registry at one moment. `fresh_pids` are those whose allocator figures still count."""

    reports: Mapping[int, ReplicaReport]
    fresh_pids: frozenset[int]

    def owner(self, pid: int) -> str | None:
        """Return the model that runs in this process, or None for another process."""
        report = self.reports.get(pid)
        return report.model if report else None

    def reusable_bytes(self) -> dict[str, int]:
        """Per model, the least that any of its replicas holds free: a request may land on any of them."""
        least: dict[str, int] = {}
        for pid, report in self.reports.items():
            reusable = report.reusable_bytes if pid in self.fresh_pids and not report.offloaded else 0
            least[report.model] = min(least.get(report.model, reusable), reusable)
        return least

    def weights_bytes(self) -> dict[str, int]:
        """Per model, what the weights of all its replicas take on the GPU."""
        total: dict[str, int] = {}
        for report in self.reports.values():
            total[report.model] = total.get(report.model, 0) + report.weights_bytes
        return total

    def present(self) -> frozenset[str]:
        """Models that have a live replica."""
        return frozenset(report.model for report in self.reports.values())

    def offloaded(self) -> frozenset[str]:
        """Models of which at least one replica has its weights off the GPU: no request may be sent there."""
        return frozenset(report.model for report in self.reports.values() if report.offloaded)
