"""Every metric Trivet has, as data, and the protocol through which code reports to them.

The library reports to a `MetricsSink` that it is given and never knows where the numbers go:
`deployments.observability.metrics` sends them to Ray's Prometheus endpoint; `trivet.metric_sinks` has those that need
no server. docs/operations.md describes each metric to its reader; a test keeps the two in step.

Labels are few and bounded: no texts, paths, request ids or process ids. Ray itself adds the node and the process.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

Kind = Literal["counter", "gauge", "histogram"]
Unit = Literal["bytes", "seconds", "tokens", "sequences", "requests", "calls", "events", "state"]
Labels = Mapping[str, str]

RAY_PREFIX = "ray_"
"""What Ray puts before each name on its endpoint."""

STAGES = ("admit", "tokenize", "queue", "forward", "total")
"""Values of the label `stage`."""

_LATENCY_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_SEQUENCES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)

MODEL_LANE = ("model", "lane")


@dataclass(frozen=True, slots=True)
class Metric:
    """A declaration. `boundaries` are the upper ends of a histogram's buckets."""

    name: str
    kind: Kind
    unit: Unit
    description: str
    labels: tuple[str, ...] = ()
    boundaries: tuple[float, ...] = field(default=(), repr=False)

    @property
    def exported_name(self) -> str:
        """The name on Ray's Prometheus endpoint."""
        return RAY_PREFIX + self.name


class MetricsSink(Protocol):
    """Takes numbers. Cheap, never blocks, and is given every label of the metric; may be called from any thread."""

    def count(self, metric: Metric, labels: Labels, amount: float = 1.0) -> None:
        """Add to a counter; an amount of 0 changes nothing."""

    def observe(self, metric: Metric, labels: Labels, value: float) -> None:
        """Put one value into a histogram."""

    def set(self, metric: Metric, labels: Labels, value: float) -> None:
        """Set a gauge."""


# Requests, as the ingress sees them.
REQUESTS = Metric(
    "trivet_requests_total",
    "counter",
    "requests",
    "HTTP requests answered, by route template, dialect and status",
    ("route", "dialect", "status"),
)
REQUEST_SECONDS = Metric(
    "trivet_request_seconds",
    "histogram",
    "seconds",
    "From the first byte of a request to the last of its answer",
    ("route", "dialect"),
    _LATENCY_S,
)

# Engine calls: a request makes none, one or many.
STAGE_SECONDS = Metric(
    "trivet_stage_seconds",
    "histogram",
    "seconds",
    "Time of engine calls by stage: admit (request to first call), tokenize, queue, forward, total (call to result)",
    ("stage", *MODEL_LANE),
    _LATENCY_S,
)
CALL_FAILURES = Metric(
    "trivet_call_failures_total", "counter", "calls", "Engine calls that ended in an error", ("model", "error")
)
REROUTES = Metric(
    "trivet_reroutes_total",
    "counter",
    "calls",
    "Engine calls that the CPU answered although their model has a GPU lane, by cause",
    ("model", "cause"),
)

# Forwards, as the replicas see them.
BATCH_SECONDS = Metric(
    "trivet_batch_seconds", "histogram", "seconds", "Duration of one forward", MODEL_LANE, _LATENCY_S
)
BATCH_SEQUENCES = Metric(
    "trivet_batch_sequences", "histogram", "sequences", "Sequences in one forward", MODEL_LANE, _SEQUENCES
)
TOKENS = Metric("trivet_tokens_total", "counter", "tokens", "Tokens forwarded, padding not counted", MODEL_LANE)
PADDED_TOKENS = Metric(
    "trivet_padded_tokens_total", "counter", "tokens", "Tokens computed, padding counted", MODEL_LANE
)
FORWARD_FAILURES = Metric(
    "trivet_forward_failures_total", "counter", "events", "Forwards that raised, by error class", (*MODEL_LANE, "error")
)
INTERRUPTIONS = Metric(
    "trivet_interruptions_total",
    "counter",
    "events",
    "Shorter batches that ran between two steps of a long forward",
    MODEL_LANE,
)
ABANDONED_TOKENS = Metric(
    "trivet_abandoned_tokens_total",
    "counter",
    "tokens",
    "Tokens of long forwards that were ended on the way because nobody waited for them any more",
    MODEL_LANE,
)
OOM_SPLITS = Metric(
    "trivet_oom_splits_total", "counter", "events", "Batches run in halves after the GPU ran out of memory", ("model",)
)
OFFLOADS = Metric(
    "trivet_offloads_total",
    "counter",
    "events",
    "Weights that left the GPU (offload) or came back (return)",
    ("model", "step"),
)
TOKEN_BUDGET = Metric(
    "trivet_token_budget_tokens", "gauge", "tokens", "Tokens that the next forward may hold", MODEL_LANE
)
QUEUE_TOKENS = Metric("trivet_queue_tokens", "gauge", "tokens", "Tokens waiting for a forward", MODEL_LANE)
QUEUE_SEQUENCES = Metric("trivet_queue_sequences", "gauge", "sequences", "Sequences waiting for a forward", MODEL_LANE)
QUEUE_OLDEST = Metric(
    "trivet_queue_oldest_seconds", "gauge", "seconds", "How long the oldest waiting work has been queued", MODEL_LANE
)
RESIDENT = Metric(
    "trivet_resident_bytes", "gauge", "bytes", "Host memory of a process: a deployment or the VRAM actor", ("process",)
)
CACHE_LOOKUPS = Metric(
    "trivet_cache_lookups_total",
    "counter",
    "calls",
    "Inputs looked up in the cache: hit, miss, or shared (computed once for several who asked at the same time)",
    ("model", "result"),
)
CACHE_DISK_FAILURES = Metric(
    "trivet_cache_disk_failures_total",
    "counter",
    "events",
    "Reads and writes of the disk cache that failed or were left out, by kind; requests were served without it",
    ("error",),
)

# The GPU, as the VRAM actor sees it.
VRAM_TOTAL = Metric("trivet_vram_total_bytes", "gauge", "bytes", "Size of the GPU", ("device",))
VRAM_FREE = Metric("trivet_vram_free_bytes", "gauge", "bytes", "Free memory of the GPU", ("device",))
VRAM_OURS = Metric(
    "trivet_vram_ours_bytes", "gauge", "bytes", "What a model's GPU replica holds on the GPU", ("device", "model")
)
VRAM_REUSABLE = Metric(
    "trivet_vram_reusable_bytes",
    "gauge",
    "bytes",
    "The part of it that the replica's allocator holds free",
    ("device", "model"),
)
VRAM_EXTERNAL = Metric(
    "trivet_vram_external_bytes", "gauge", "bytes", "What other programs hold on the GPU", ("device",)
)
VRAM_TENANT = Metric(
    "trivet_vram_tenant_bytes",
    "gauge",
    "bytes",
    "What one model of a neighbouring Ollama holds on the GPU",
    ("device", "tenant"),
)
VRAM_READABLE = Metric(
    "trivet_vram_readable", "gauge", "state", "1 while the GPU can be read, 0 while it cannot", ("device",)
)
LANE_DECISIONS = Metric(
    "trivet_lane_decisions_total",
    "counter",
    "events",
    "Decisions that changed: a model's new lane, and why",
    (*MODEL_LANE, "cause"),
)

# The decisions, as an ingress obeys them.
LANE_ON_GPU = Metric(
    "trivet_lane_on_gpu",
    "gauge",
    "state",
    "1 while a model's requests go to the GPU, 0 while to the CPU",
    ("model",),
)
SNAPSHOT_AGE = Metric(
    "trivet_vram_snapshot_age_seconds", "gauge", "seconds", "How old the newest news of the VRAM actor is"
)

METRICS: tuple[Metric, ...] = tuple(value for value in list(globals().values()) if isinstance(value, Metric))
"""All of them."""
