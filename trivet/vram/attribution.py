"""Tells ours from external: joins what the driver says about a GPU with what our replicas say about themselves. Pure.

Ours, per replica: the driver's figure for its PID; where the driver lists no such PID or gives no figure (containers
without the host's PIDs, WSL, no permission), what the replica reports plus the size of a CUDA context.

External: everything in use that is not ours. Derived from the totals whenever each of our replicas has a figure, since
that also counts processes the list hides; else the sum of the other processes the list names; else None. Either way
`attribution_note` says what was missing.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from trivet.vram.registry import RegistryView
from trivet.vram.types import Observation, ProcessUse

DEFAULT_CONTEXT_BYTES = 450 * 1024 * 1024
"""What a CUDA process holds besides its allocator. An assumption: it varies with the driver, the GPU and what is
loaded (about 250 to 600 MiB), so it is a setting wherever it is used."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuReading:
    """What the driver says, before anyone asks who is who."""

    device: str
    total_bytes: int
    free_bytes: int
    reserved_bytes: int
    """Held back by the driver and firmware for themselves; 0 where the driver counts it as used."""
    processes: tuple[tuple[int, int | None], ...]
    """(pid, bytes or None) of each process the driver lists."""
    list_error: str | None
    """Why the process list could not be read; None when it was."""


def attribute(
    reading: GpuReading, registry: RegistryView, *, at_s: float, context_bytes: int = DEFAULT_CONTEXT_BYTES
) -> Observation:
    """Return the observation that `reading` and the replicas' own reports make together."""
    listed = dict(reading.processes)
    ours: dict[str, int] = {}
    estimated: list[str] = []
    unsized: list[str] = []
    for pid, report in registry.reports.items():
        used_bytes = listed.get(pid)
        if used_bytes is None and report.held_bytes is not None:
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
        weights_bytes=registry.weights_bytes(),
        offloaded=registry.offloaded(),
        present=registry.present(),
        processes=tuple(ProcessUse(pid, used, registry.owner(pid)) for pid, used in reading.processes),
        attribution_note=_note(reading.list_error, estimated, unsized),
    )


def _note(list_error: str | None, estimated: Sequence[str], unsized: Sequence[str]) -> str | None:
    parts = []
    if list_error is not None:
        parts.append(f"process list: {list_error}")
    if estimated:
        parts.append(f"not listed, sized by their own report: {', '.join(sorted(estimated))}")
    if unsized:
        parts.append(f"not listed and not reported yet: {', '.join(sorted(unsized))}")
    return "; ".join(parts) or None
