"""The data types of the VRAM subsystem: observations, decisions and snapshots.

Plain frozen dataclasses, so that they compare by value and can be pickled between processes. Their only behaviour is
arithmetic on their own fields. Their mappings must not be modified; they are plain dicts because a `MappingProxyType`
cannot be pickled.

All `*_s` times are seconds of one monotonic clock, passed in by the caller. Monotonic clocks of different machines are
not comparable, so the receiver of a `Snapshot` re-stamps it with `Snapshot.received(now_s)`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Literal

from trivet.config import Lane

Cause = Literal[
    "room",  # gpu: there is memory
    "starting",  # cpu: no reading of the GPU has arrived yet
    "low_memory",  # cpu: less memory than the threshold requires
    "no_reading",  # cpu: the last good reading is older than the grace period
    "absent",  # cpu: no GPU replica of this model is alive
    "dwell",  # cpu: there is memory again, but the lane changed too recently
    "offloaded",  # cpu: the weights are off the GPU, or their offload was requested
    "unusable",  # cpu: the GPU cannot compute this model, or computes it wrong
    "stuck",  # cpu: its GPU replica does not answer, or a forward on the GPU does not end
    "reloading",  # cpu: a reload was requested, and the weights are not on the GPU yet
]
"""Why a model is on its lane; also a metric label, so it has few values and no numbers."""


@dataclass(frozen=True, slots=True)
class ProcessUse:
    """One process on the GPU. `used_bytes` is None if the driver gives no figure; `owner` is None if it is external."""

    pid: int
    used_bytes: int | None
    owner: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """One reading of the GPU, joined with our replicas' reports.

    If the GPU could not be read, `unknown_reason` says why and every size is zero, so that arithmetic on the sizes errs
    toward the CPU.
    """

    at_s: float
    device: str
    """A human-readable label: "0: NVIDIA GeForce RTX 4060 Laptop GPU", "simulated:0"."""
    total_bytes: int = 0
    free_bytes: int = 0
    ours_bytes: Mapping[str, int] = field(default_factory=dict)
    """Per model: GPU memory of its processes, including their CUDA contexts."""
    external_bytes: int | None = None
    """GPU memory of all other processes; None if it cannot be separated from ours."""
    reusable_bytes: Mapping[str, int] = field(default_factory=dict)
    """Per model: memory that its allocator holds unused. The GPU counts it as used, but the model can allocate it."""
    others_returnable_bytes: Mapping[str, int] = field(default_factory=dict)
    """Per model: unused memory that our other processes on this GPU return when it is short of memory."""
    weights_bytes: Mapping[str, int] = field(default_factory=dict)
    """Per model: size of its weights while they are on the GPU."""
    offloaded: frozenset[str] = frozenset()
    """Models whose weights are not on the GPU now."""
    unusable: Mapping[str, str] = field(default_factory=dict)
    """Models whose replica has left this GPU for good, and why: their numbers are wrong there, or it cannot compute
    them."""
    stuck: Mapping[str, str] = field(default_factory=dict)
    """Models whose replica on this GPU does not answer now, and what is known of it."""
    present: frozenset[str] | None = None
    """Models that have a live GPU replica; None if the probe does not know, which counts as all of them."""
    processes: tuple[ProcessUse, ...] = ()
    attribution_note: str | None = None
    """Why the split into ours and external is not exact; None if the driver listed every process."""
    unknown_reason: str | None = None

    @property
    def known(self) -> bool:
        """Whether the GPU could be read."""
        return self.unknown_reason is None

    def available_bytes(self, model: str) -> int:
        """Return what `model` can still allocate: the GPU's free memory plus the unused memory of its allocator."""
        return self.free_bytes + self.reusable_bytes.get(model, 0)

    def reachable_bytes(self, model: str) -> int:
        """Return what `model` can allocate once idle replicas beside it have returned their unused memory."""
        return self.available_bytes(model) + self.others_returnable_bytes.get(model, 0)

    def has_replica(self, model: str) -> bool:
        """Return whether `model` has a live GPU replica, as far as the probe knows."""
        return self.present is None or model in self.present

    @classmethod
    def unknown(cls, *, at_s: float, device: str, reason: str) -> "Observation":
        """Return the observation of a GPU that could not be read, for `reason`."""
        return cls(at_s=at_s, device=device, unknown_reason=reason)


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """Where one model's requests go, whether its weights should stay on the GPU, and why.

    A decision is replaced only when `lane`, `offloaded` or `cause` changes. Its numbers are of that moment, so an
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
    """Memory available to this model when the decision was made; 0 if the GPU could not be read."""
    offloaded: bool = False
    """True asks the GPU replica to offload its weights; False asks it to have them on the GPU."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tenant:
    """A model of another server on the GPU, as that server reports it."""

    name: str
    vram_bytes: int
    """Size of the part that is on the GPU."""
    expires_at: datetime
    """When the server unloads the model if it stays idle. Has a time zone."""
    server: str = ""
    """URL of the server; empty where only one is configured."""

    @property
    def label(self) -> str:
        """The model's name, with its server where there are several."""
        return f"{self.name} at {self.server}" if self.server else self.name


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """All decisions about one GPU at one moment, as the ingress and the replicas receive them.

    `version` grows by one whenever a decision changed; a heartbeat repeats a version with a later `at_s`.
    """

    version: int
    at_s: float
    device: str
    decisions: Mapping[str, Decision]
    observation: Observation
    replicas: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Per model: the ids of its replicas on this GPU, as far as they have reported."""
    tenants: tuple[Tenant, ...] = ()
    """Models of the configured Ollama servers, which are part of the external memory; empty if none is configured."""

    def received(self, now_s: float) -> "Snapshot":
        """Return this snapshot with `at_s` set to the receiver's clock, which then measures its age."""
        return replace(self, at_s=now_s)
