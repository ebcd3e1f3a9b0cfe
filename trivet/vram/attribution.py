"""Splits used GPU memory into ours and external by joining the driver's figures with our replicas' reports. Pure.

Ours, per replica: the driver's figure for its PID. Where the driver does not list that PID or gives no figure
(containers without the host's PIDs, WSL, missing permission), it is the replica's reported memory plus the size of a
CUDA context.

External: all other memory in use. If every replica of ours has a figure, it is the GPU's total in use minus ours, which
also counts processes that the driver's list hides. Otherwise it is the sum of the other listed processes. If that sum
is incomplete too, it is None. `attribution_note` states what was missing.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from trivet.gpu import CONTEXT_BYTES
from trivet.vram.registry import RegistryView
from trivet.vram.types import Observation, ProcessUse


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuReading:
    """The driver's figures for one GPU, before its processes are attributed to ours or to others."""

    device: str
    uuid: str
    """The GPU's UUID, by which replicas report."""
    total_bytes: int
    free_bytes: int
    reserved_bytes: int
    """Memory that driver and firmware reserve; 0 where the driver counts it as used."""
    processes: tuple[tuple[int, int | None], ...]
    """(pid, bytes or None) of each process that the driver lists."""
    list_error: str | None
    """Why the process list could not be read; None if it was."""


def attribute(
    reading: GpuReading, registry: RegistryView, *, at_s: float, context_bytes: int = CONTEXT_BYTES
) -> Observation:
    """Combine the driver's `reading` with the replicas' reports into one observation."""
    listed = dict(reading.processes)
    models_of = Counter(pid for pid, _ in registry.reports)
    ours: dict[str, int] = {}
    estimated: list[str] = []
    unsized: list[str] = []
    for (pid, _), report in registry.reports.items():
        used_bytes = listed.get(pid)
        if used_bytes is not None:
            used_bytes //= models_of[pid]  # the driver does not say which of its models a process's memory belongs to
        elif report.held_bytes is not None:
            used_bytes = report.held_bytes + context_bytes
            estimated.append(report.model)
        if used_bytes is None:
            unsized.append(report.model)
        else:
            ours[report.model] = ours.get(report.model, 0) + used_bytes

    external_bytes: int | None
    others = [used for pid, used in reading.processes if registry.owner(pid) is None]
    named = [used for used in others if used is not None]
    if not unsized:
        in_use_bytes = reading.total_bytes - reading.free_bytes - reading.reserved_bytes
        external_bytes = max(0, in_use_bytes - sum(ours.values()))
    elif reading.list_error is None and len(named) == len(others):
        external_bytes = sum(named)
    else:
        external_bytes = None

    return Observation(
        at_s=at_s,
        device=reading.device,
        total_bytes=reading.total_bytes,
        free_bytes=reading.free_bytes,
        ours_bytes=ours,
        external_bytes=external_bytes,
        reusable_bytes=registry.reusable_bytes(),
        others_returnable_bytes=registry.others_returnable_bytes(),
        weights_bytes=registry.weights_bytes(),
        offloaded=registry.offloaded(),
        unusable=registry.unusable(),
        stuck=registry.stuck(),
        present=registry.present(),
        processes=tuple(ProcessUse(pid, used, registry.owner(pid)) for pid, used in reading.processes),
        attribution_note=_note(reading.list_error, estimated, unsized),
    )


def _note(list_error: str | None, estimated: Sequence[str], unsized: Sequence[str]) -> str | None:
    parts = []
    if list_error is not None:
        parts.append(f"process list: {list_error}")
    if estimated:
        parts.append(f"not listed, sized by their own reports: {', '.join(sorted(estimated))}")
    if unsized:
        parts.append(f"not listed and not reported yet: {', '.join(sorted(unsized))}")
    return "; ".join(parts) or None
