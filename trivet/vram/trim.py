"""Decides when a GPU replica returns its allocator's unused memory to the GPU. Pure.

An allocator keeps memory that no tensor occupies, so that the next forward takes it without asking the driver. Other
processes cannot use this memory. A replica therefore returns it while the GPU is short of memory and the replica is
idle, so that no request waits for the driver.

The policy counts this memory before it is returned (`Observation.reachable_bytes`): a model whose free memory is below
the floor stays on the GPU if the idle replicas beside it return enough. Both rules use `returnable_bytes`, so the floor
never counts memory that no replica returns.
"""

from dataclasses import dataclass

from trivet.units import GIB, MIB
from trivet.vram.types import Observation

LEAST_BYTES = 32 * MIB
"""Less than this is not worth a call of the driver that waits for the device."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrimConfig:
    """When memory is returned."""

    short_below_bytes: int = GIB
    """The GPU is short of memory while less than this is free: the policy's resume threshold."""
    idle_after_s: float | None = 10.0
    """How long a replica has computed nothing before it counts as idle; None: it never does."""


def returnable_bytes(config: TrimConfig, unused_bytes: int, idle_s: float) -> int:
    """Return what a replica can return to its GPU now.

    Args:
        config: the thresholds.
        unused_bytes: memory that its allocator holds unused and that the GPU would get back.
        idle_s: time since its last forward.
    """
    if config.idle_after_s is None or idle_s < config.idle_after_s or unused_bytes < LEAST_BYTES:
        return 0
    return unused_bytes


def trim_is_due(config: TrimConfig, observation: Observation, can_return_bytes: int) -> bool:
    """Return whether a replica that can return so many bytes does so now. It does not while the GPU is unreadable."""
    return can_return_bytes > 0 and observation.known and observation.free_bytes < config.short_below_bytes
