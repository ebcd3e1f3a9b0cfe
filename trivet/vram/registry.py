"""Collects the reports of our GPU replicas, which the probe joins with the driver's figures.

Only a replica itself knows which part of its used memory its allocator holds unused, whether its weights are on the
GPU, and its PID. A report older than `max_age_s` still identifies the owner of a PID, but its allocator figures no
longer count: memory that was reported unused and may be gone must not keep a model on the GPU.

Thread-safe. Starts no thread and queries no process.
"""

import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaReport:
    """One GPU replica's report about itself, at `at_s`."""

    model: str
    pid: int
    at_s: float
    held_bytes: int | None = None
    """Memory that the replica's allocator took from the GPU (torch: `memory_reserved`), without its CUDA context; None
    while unknown."""
    reusable_bytes: int = 0
    """The part of `held_bytes` that no tensor occupies."""
    weights_bytes: int = 0
    """Size of the weights on the GPU, also while they are offloaded."""
    offloaded: bool = False
    """Whether the weights are off the GPU now."""


def process_exists(pid: int) -> bool:
    """Return whether a process with this PID is alive on this machine."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True  # alive, and another user's
    return True


class Registry:
    """The latest report of every GPU replica on this node.

    `max_age_s`: how long allocator figures count. `is_alive` detects PIDs that are gone, so that reports of killed
    replicas are removed.
    """

    def __init__(self, *, max_age_s: float = 10.0, is_alive: Callable[[int], bool] = process_exists) -> None:
        self._max_age_s = max_age_s
        self._is_alive = is_alive
        self._reports: dict[int, ReplicaReport] = {}
        self._lock = threading.Lock()

    def report(self, report: ReplicaReport) -> None:
        """Store a replica's report; it replaces the earlier report of the same PID."""
        with self._lock:
            self._reports[report.pid] = report

    def view(self, now_s: float) -> "RegistryView":
        """Return the reports at `now_s`, without those of processes that are gone."""
        with self._lock:
            for pid in [pid for pid in self._reports if not self._is_alive(pid)]:
                del self._reports[pid]
            reports = dict(self._reports)
        fresh = [pid for pid, report in reports.items() if now_s - report.at_s <= self._max_age_s]
        return RegistryView(reports=reports, fresh_pids=frozenset(fresh))


@dataclass(frozen=True, slots=True)
class RegistryView:
    """The registry at one moment. `fresh_pids` are the PIDs whose allocator figures still count."""

    reports: Mapping[int, ReplicaReport]
    fresh_pids: frozenset[int]

    def owner(self, pid: int) -> str | None:
        """Return the model that runs in process `pid`, or None if the process is external."""
        report = self.reports.get(pid)
        return report.model if report else None

    def reusable_bytes(self) -> dict[str, int]:
        """Return the unused memory per model: the minimum over its replicas, since a request may go to any of them."""
        least: dict[str, int] = {}
        for pid, report in self.reports.items():
            reusable = report.reusable_bytes if pid in self.fresh_pids and not report.offloaded else 0
            least[report.model] = min(least.get(report.model, reusable), reusable)
        return least

    def weights_bytes(self) -> dict[str, int]:
        """Return the size of the weights per model, summed over its replicas."""
        total: dict[str, int] = {}
        for report in self.reports.values():
            total[report.model] = total.get(report.model, 0) + report.weights_bytes
        return total

    def present(self) -> frozenset[str]:
        """Return the models that have a live replica."""
        return frozenset(report.model for report in self.reports.values())

    def offloaded(self) -> frozenset[str]:
        """Return the models with at least one offloaded replica, to which no request may be sent."""
        return frozenset(report.model for report in self.reports.values() if report.offloaded)
