"""Decides when a CPU replica beside a GPU rests, without weights in memory, and when it wakes. Pure.

While a GPU has room, a CPU replica computes nothing, but its packed weights would take as much memory as the model. It
rests when it has been idle for `rest_after_s` and a GPU has room to spare. It wakes as soon as none has more than the
resume threshold, which is before the policy moves the model: memory that shrinks slowly finds the CPU replica awake.
From time to time a resting replica opens its model and computes a forward, so that a failure shows before it is needed.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from trivet.units import GIB
from trivet.vram.snapshot import decision_for
from trivet.vram.types import Snapshot

Step = Literal["rest", "wake", "check"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RestConfig:
    """When a CPU replica rests and wakes."""

    rest_after_s: float | None = 60.0
    """How long a replica has computed nothing before it rests; None: never."""
    wake_below_bytes: int = GIB
    """A GPU with less than this available has no room to spare: the policy's resume threshold."""
    check_every_s: float = 900.0
    """Time between two checks of a resting replica."""


def has_room_to_spare(
    config: RestConfig, snapshots: Iterable[Snapshot], model: str, now_s: float, grace_s: float
) -> bool:
    """Return whether a GPU takes the model's requests and is not close to its floor.

    `snapshots` are those of the GPUs of the replica's node: what the others have says nothing about this node's memory.
    """
    return any(
        latest.observation.known
        and decision_for(latest, model, now_s, grace_s).lane == "gpu"
        and latest.observation.available_bytes(model) >= config.wake_below_bytes
        for latest in snapshots
    )


def next_step(config: RestConfig, *, resting: bool, room: bool, idle_s: float, unchecked_s: float) -> Step | None:
    """Return what a CPU replica does now; None: it goes on.

    Args:
        config: the times.
        resting: whether it rests.
        room: whether a GPU has room to spare; see `has_room_to_spare`.
        idle_s: time since its last forward.
        unchecked_s: time since its model was last opened.
    """
    if not resting:
        rests = config.rest_after_s is not None and room and idle_s >= config.rest_after_s
        return "rest" if rests else None
    if not room:
        return "wake"
    return "check" if unchecked_s >= config.check_every_s else None
