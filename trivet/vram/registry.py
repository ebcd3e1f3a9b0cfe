"""Collects the reports of our GPU replicas, which the probes join with the driver's figures.

Only a replica itself knows which part of its used memory its allocator holds unused, whether its weights are on the
GPU, its GPU and its PID. A report older than `max_age_s` still identifies the owner of a PID, but its allocator figures
no longer count: memory that was reported unused and may be gone must not keep a model on the GPU.

The key is (PID, model), because one process may serve several models.

Thread-safe. Starts no thread and queries no process.
"""

import os
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

from trivet.config import GpuPlacement
from trivet.units import format_seconds
from trivet.vram.assignment import choose_gpu

ReplicaKey = tuple[int, str]
"""The PID and the model of a replica."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaReport:
    """One GPU replica's report about itself, at `at_s`."""

    model: str
    pid: int
    gpu: str
    """UUID of the GPU that the replica computes on."""
    at_s: float
    replica: str = ""
    """The replica's id with Serve, by which the ingress chooses it."""
    held_bytes: int | None = None
    """Memory that the replica's allocator took from the GPU (torch: `memory_reserved`), without its CUDA context; None
    while unknown."""
    reusable_bytes: int = 0
    """The part of `held_bytes` that no tensor occupies."""
    returnable_bytes: int = 0
    """The part of `reusable_bytes` that the process returns when its GPU is short of memory: 0 while it is busy."""
    weights_bytes: int = 0
    """Size of the weights on the GPU, also while they are offloaded."""
    offloaded: bool = False
    unusable: str | None = None
    """Why the replica will not compute on the GPU again; None while it may."""
    stuck: str | None = None
    """What the replica waits for in vain now; None while its forwards end."""


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
    """The latest report of every GPU replica on this node, and the GPU that each replica was given.

    `max_age_s`: how long allocator figures count. `silent_after_s`: how old a report is when its replica counts as one
    that does not answer. `is_alive` detects PIDs that are gone, so that reports of killed replicas are removed.
    """

    def __init__(
        self,
        *,
        max_age_s: float = 10.0,
        silent_after_s: float = 5.0,
        is_alive: Callable[[int], bool] = process_exists,
    ) -> None:
        self._max_age_s = max_age_s
        self._silent_after_s = silent_after_s
        self._is_alive = is_alive
        self._reports: dict[ReplicaKey, ReplicaReport] = {}
        self._assigned: dict[ReplicaKey, str] = {}
        self._lock = threading.Lock()

    def report(self, report: ReplicaReport) -> None:
        """Store a replica's report; it replaces the earlier report of the same PID and model."""
        with self._lock:
            self._reports[report.pid, report.model] = report
            self._assigned[report.pid, report.model] = report.gpu

    def assign(
        self,
        pid: int,
        model: str,
        gpus: Sequence[str],
        placement: GpuPlacement,
        unreadable: Collection[str] = (),
    ) -> str | None:
        """Give process `pid` a GPU for `model`, and remember it until the process ends; see `choose_gpu`.

        Returns None while none is free for this model.
        """
        with self._lock:
            self._drop_dead()
            held: dict[str, set[str]] = {}
            for (holder, held_model), gpu in self._assigned.items():
                if holder != pid or held_model != model:
                    held.setdefault(gpu, set()).add(held_model)
            chosen = choose_gpu(gpus, held, model, placement, unreadable)
            if chosen is not None:
                self._assigned[pid, model] = chosen
            return chosen

    def view(self, now_s: float, gpu: str | None = None) -> "RegistryView":
        """Return the reports at `now_s` of the replicas on one GPU (None: on any), without those that are gone."""
        with self._lock:
            self._drop_dead()
            reports = {key: report for key, report in self._reports.items() if gpu in (None, report.gpu)}
        ages_s = {key: now_s - report.at_s for key, report in reports.items()}
        fresh = [key for key, age_s in ages_s.items() if age_s <= self._max_age_s]
        silent_s = {key: age_s for key, age_s in ages_s.items() if age_s > self._silent_after_s}
        return RegistryView(reports=reports, fresh=frozenset(fresh), silent_s=silent_s)

    def _drop_dead(self) -> None:
        dead = {pid for pid, _ in (*self._reports, *self._assigned) if not self._is_alive(pid)}
        self._reports = {key: report for key, report in self._reports.items() if key[0] not in dead}
        self._assigned = {key: gpu for key, gpu in self._assigned.items() if key[0] not in dead}


@dataclass(frozen=True, slots=True)
class RegistryView:
    """The registry at one moment. `fresh` are the replicas whose allocator figures still count."""

    reports: Mapping[ReplicaKey, ReplicaReport]
    fresh: frozenset[ReplicaKey]
    silent_s: Mapping[ReplicaKey, float] = field(default_factory=dict)
    """For how long replicas have been silent, of those that should have reported again."""

    def owner(self, pid: int) -> str | None:
        """Return the models that run in process `pid`, or None if the process is external."""
        return ", ".join(sorted(model for holder, model in self.reports if holder == pid)) or None

    def replicas(self) -> dict[str, tuple[str, ...]]:
        """Return the ids of the replicas per model."""
        ids: dict[str, tuple[str, ...]] = {}
        for report in self.reports.values():
            if report.replica:
                ids[report.model] = (*ids.get(report.model, ()), report.replica)
        return ids

    def reusable_bytes(self) -> dict[str, int]:
        """Return the unused memory per model: the minimum over its replicas, since a request may go to any of them."""
        least: dict[str, int] = {}
        for key, report in self.reports.items():
            reusable = report.reusable_bytes if key in self.fresh and not report.offloaded else 0
            least[report.model] = min(least.get(report.model, reusable), reusable)
        return least

    def others_returnable_bytes(self) -> dict[str, int]:
        """Return, per model, what the processes that do not serve this model return when the GPU is short.

        A process counts once, however many models it serves: they share its allocator.
        """
        of_process: dict[int, int] = {}
        for key in self.fresh:
            report = self.reports[key]
            of_process[report.pid] = max(of_process.get(report.pid, 0), report.returnable_bytes)
        serving: dict[str, set[int]] = {}
        for report in self.reports.values():
            serving.setdefault(report.model, set()).add(report.pid)
        return {
            model: sum(size for pid, size in of_process.items() if pid not in pids) for model, pids in serving.items()
        }

    def weights_bytes(self) -> dict[str, int]:
        """Return the size of the weights per model, summed over its replicas."""
        total: dict[str, int] = {}
        for report in self.reports.values():
            total[report.model] = total.get(report.model, 0) + report.weights_bytes
        return total

    def unusable(self) -> dict[str, str]:
        """Return the models that have left the GPU for good, and why."""
        return {report.model: report.unusable for report in self.reports.values() if report.unusable is not None}

    def stuck(self) -> dict[str, str]:
        """Return the models of which a replica does not answer now, and what is known of it."""
        found: dict[str, str] = {}
        # The newest report of a model counts: a process that hangs in the driver outlives its replacement.
        for key in sorted(self.reports, key=lambda key: self.reports[key].at_s):
            report, silent_s = self.reports[key], self.silent_s.get(key)
            silence = None if silent_s is None else f"its GPU replica has been silent for {format_seconds(silent_s)}"
            why = silence or report.stuck
            found.pop(report.model, None)
            if why is not None:
                found[report.model] = why
        return found

    def present(self) -> frozenset[str]:
        """Return the models that have a live replica."""
        return frozenset(report.model for report in self.reports.values())

    def offloaded(self) -> frozenset[str]:
        """Return the models with at least one offloaded replica, to which no request may be sent."""
        return frozenset(report.model for report in self.reports.values() if report.offloaded)
