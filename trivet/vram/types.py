"""The nouns of the VRAM subsystem: what is seen, what is decided, what is published.

Plain frozen dataclasses, so that they compare by value and pickle between processes. They hold no behaviour beyond
arithmetic on their own fields. Mappings are treated as read-only once inside; they are plain dicts because a
`MappingProxyType` does not pickle.

All `*_s` moments are seconds of one monotonic clock, passed in by the caller. Monotonic clocks of different machines
do not compare: whoever receives a `Snapshot` from another process re-stamps it with `Snapshot.received(now_s)`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Literal

from trivet.config import Lane

Cause = Literal[
    "room",  # gpu: there is memory
    "starting",  # cpu: no reading of the GPU has arrived yet
    "low_memory",  # cpu: less memory than the threshold asks for
    "no_reading",  # cpu: the last good reading is older than the grace period
    "absent",  # cpu: no GPU replica of this model is alive
    "dwell",  # cpu: there is memory again, but the lane changed too recently
    "offloaded",  # cpu: the weights have left the GPU (or were asked to)
    "reloading",  # cpu: the weights were asked back and are not there yet
]
"""Why a model is on its lane, as a metric label: few values, no numbers."""


@dataclass(frozen=True, slots=True)
class ProcessUse:
    """One process on the GPU. `used_bytes` is None where the driver does not say; `owner` is None if it is not ours."""

    pid: int
    used_bytes: int | None
    owner: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """One look at the GPU, joined with what our replicas report about themselves.

    When nothing could be read, `unknown_reason` says why and every size is zero, so that arithmetic on an unread
    observation errs toward the CPU.
    """

    at_s: float
    device: str
    """A label for people: "0: NVIDIA GeForce RTX 4060 Laptop GPU", "simulated:0"."""
    total_bytes: int = 0
    free_bytes: int = 0
    ours_bytes: Mapping[str, int] = field(default_factory=dict)
    """Per model: what its processes hold on the GPU, CUDA contexts included."""
    external_bytes: int | None = None
    """What everyone else holds; None when it cannot be told apart from ours."""
    reusable_bytes: Mapping[str, int] = field(default_factory=dict)
    """Per model: memory its own allocator holds free; used on the GPU, yet available to that model."""
    weights_bytes: Mapping[str, int] = field(default_factory=dict)
    """Per model: what its weights take on the GPU when they are there."""
    offloaded: frozenset[str] = frozenset()
    """Models whose weights are not on the GPU now."""
    present: frozenset[str] | None = None
    """Models that have a live GPU replica; None where the probe cannot tell, and then all are taken to have one."""
    processes: tuple[ProcessUse, ...] = ()
    attribution_note: str | None = None
    """Why ours and external are told apart less than exactly; None when the driver named every process."""
    unknown_reason: str | None = None

    @property
    def known(self) -> bool:
        """Whether the GPU was read at all."""
        return self.unknown_reason is None

    def available_bytes(self, model: str) -> int:
        """Return what `model` can still allocate: free memory of the GPU plus what its own allocator holds free."""
        return self.free_bytes + self.reusable_bytes.get(model, 0)

    def has_replica(self, model: str) -> bool:
        """Return whether `model` has a live GPU replica, as far as the probe can tell."""
        return self.present is None or model in self.present

    @classmethod
    def unknown(cls, *, at_s: float, device: str, reason: str) -> "Observation":
        """Return an observation that saw nothing, for `reason`."""
        return cls(at_s=at_s, device=device, unknown_reason=reason)


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """Where one model's requests go, whether its weights should stay on the GPU, and why.

    A decision is replaced only when `lane`, `offloaded` or `cause` changes: its numbers are those of that moment, so an
    unchanged decision compares equal from tick to tick.
    """

    model: str
    lane: Lane
    cause: Cause
    reason: str
    """One sentence for a log line: "embedder: 250 MiB free, 500 MiB needed: moved to cpu"."""
    since_s: float
    """When the lane was last set."""
    free_bytes: int
    """What was available to this model when the decision was made; 0 where nothing could be read."""
    offloaded: bool = False
    """True asks the GPU replica to give its weights back; False asks it to have them on the GPU."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tenant:
    """another process's model on the GPU, by its server's word. `expires_at` is when it leaves if nobody uses it."""

    name: str
    vram_bytes: int
    """The part of it on the GPU."""
    expires_at: datetime
    """With a time zone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """All decisions at one moment, as the ingress and the replicas receive them.

    `version` grows by one whenever a decision changed; a heartbeat repeats a version with a later `at_s`.
    """

    version: int
    at_s: float
    device: str
    decisions: Mapping[str, Decision]
    observation: Observation
    tenants: tuple[Tenant, ...] = ()
    """Who the external memory belongs to, as far as anybody says; empty where no neighbour is asked."""

    def received(self, now_s: float) -> "Snapshot":
        """Return this snapshot stamped with the receiver's clock, against which its age is then measured."""
        return replace(self, at_s=now_s)
