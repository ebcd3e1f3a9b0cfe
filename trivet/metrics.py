"""Declares all metrics as data, and the protocol through which code reports them.

The library reports to a `MetricsSink` and does not know where the values go. `RaySink` in
`deployments.observability.metrics` sends them to Ray's Prometheus endpoint. docs/operations.md describes each metric; a
test keeps the two in step.

Labels have few, bounded values: no texts, paths, request ids or process ids. Ray adds the node and the process.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

Kind = Literal["counter", "gauge", "histogram"]
Unit = Literal["bytes", "seconds", "tokens", "sequences", "requests", "calls", "events", "state"]
Labels = Mapping[str, str]

RAY_PREFIX = "ray_"
"""Prefix that Ray adds to each name on its endpoint."""

STAGES = ("admit", "tokenize", "queue", "forward", "total")
"""Values of the label `stage`."""

_LATENCY_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_SEQUENCES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)

MODEL_LANE = ("model", "lane")


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric's declaration. `boundaries` are the upper ends of a histogram's buckets."""

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
    """Receives metric values.

    Its methods are cheap, never block, and may be called from any thread. Callers pass every label of the metric.
    """

    def count(self, metric: Metric, labels: Labels, amount: float = 1.0) -> None:
        """Add `amount` to a counter; 0 changes nothing."""

    def observe(self, metric: Metric, labels: Labels, value: float) -> None:
        """Add one value to a histogram."""

    def set(self, metric: Metric, labels: Labels, value: float) -> None:
        """Set a gauge to `value`."""


class DroppingSink:
    """A sink that drops all values."""

    def count(self, metric: Metric, labels: Labels, amount: float = 1.0) -> None:
        """See `MetricsSink`."""

    def observe(self, metric: Metric, labels: Labels, value: float) -> None:
        """See `MetricsSink`."""

    def set(self, metric: Metric, labels: Labels, value: float) -> None:
        """See `MetricsSink`."""


NO_METRICS = DroppingSink()

# Requests, measured in the ingress.
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
    "Time from the first byte of a request to the last byte of its answer",
    ("route", "dialect"),
    _LATENCY_S,
)
UNREAD_ANSWERS = Metric(
    "trivet_unread_answers_total",
    "counter",
    "requests",
    "Answers ended because their caller did not read them, by the limit: time or memory",
    ("limit",),
)

# Engine calls, of which a request makes zero or more.
STAGE_SECONDS = Metric(
    "trivet_stage_seconds",
    "histogram",
    "seconds",
    "Latency of engine calls by stage: admit (request to first call), tokenize, queue, forward, total (call to result)",
    ("stage", *MODEL_LANE),
    _LATENCY_S,
)
CALL_FAILURES = Metric(
    "trivet_call_failures_total", "counter", "calls", "Engine calls that failed, by error class", ("model", "error")
)
REROUTES = Metric(
    "trivet_reroutes_total",
    "counter",
    "calls",
    "Engine calls that the CPU served although their model has a GPU lane, by cause",
    ("model", "cause"),
)

# Forwards, measured in the model replicas.
BATCH_SECONDS = Metric(
    "trivet_batch_seconds", "histogram", "seconds", "Duration of one forward", MODEL_LANE, _LATENCY_S
)
BATCH_SEQUENCES = Metric(
    "trivet_batch_sequences", "histogram", "sequences", "Sequences in one forward", MODEL_LANE, _SEQUENCES
)
TOKENS = Metric("trivet_tokens_total", "counter", "tokens", "Tokens computed, without padding", MODEL_LANE)
PADDED_TOKENS = Metric("trivet_padded_tokens_total", "counter", "tokens", "Tokens computed, with padding", MODEL_LANE)
FORWARD_FAILURES = Metric(
    "trivet_forward_failures_total", "counter", "events", "Forwards that raised, by error class", (*MODEL_LANE, "error")
)
INTERRUPTIONS = Metric(
    "trivet_interruptions_total",
    "counter",
    "events",
    "Batches of shorter sequences that ran between two steps of a long forward",
    MODEL_LANE,
)
ABANDONED_TOKENS = Metric(
    "trivet_abandoned_tokens_total",
    "counter",
    "tokens",
    "Tokens of long forwards that were cancelled because all of their callers had left",
    MODEL_LANE,
)
OOM_SPLITS = Metric(
    "trivet_oom_splits_total", "counter", "events", "Batches split in half after the GPU ran out of memory", ("model",)
)
OFFLOADS = Metric(
    "trivet_offloads_total",
    "counter",
    "events",
    "Times that a model's weights left the GPU (offload) or returned to it (reload)",
    ("model", "step"),
)
TOKEN_BUDGET = Metric("trivet_token_budget_tokens", "gauge", "tokens", "Maximum tokens of the next forward", MODEL_LANE)
QUEUE_TOKENS = Metric("trivet_queue_tokens", "gauge", "tokens", "Tokens waiting for a forward", MODEL_LANE)
QUEUE_SEQUENCES = Metric("trivet_queue_sequences", "gauge", "sequences", "Sequences waiting for a forward", MODEL_LANE)
QUEUE_OLDEST = Metric(
    "trivet_queue_oldest_seconds", "gauge", "seconds", "Age of the oldest work in the queue", MODEL_LANE
)
RESIDENT = Metric(
    "trivet_resident_bytes",
    "gauge",
    "bytes",
    "Resident host memory of a process: a deployment's replica or the VRAM actor",
    ("process",),
)
CACHE_LOOKUPS = Metric(
    "trivet_cache_lookups_total",
    "counter",
    "calls",
    "Cache lookups of inputs: hit, miss, or shared (computed once for several concurrent callers)",
    ("model", "result"),
)
CACHE_DISK_FAILURES = Metric(
    "trivet_cache_disk_failures_total",
    "counter",
    "events",
    "Disk cache reads and writes that failed or were skipped, by kind; requests were served without the disk cache",
    ("error",),
)

TRIMS = Metric(
    "trivet_trims_total",
    "counter",
    "events",
    "Times that an idle model returned its allocator's unused memory to a GPU that is short of memory",
    ("model",),
)
CPU_RESTS = Metric(
    "trivet_cpu_rests_total",
    "counter",
    "events",
    "Times that a CPU replica beside a GPU dropped its weights (rest), opened them (wake), or did both (check)",
    ("model", "step"),
)
LAST_RESORTS = Metric(
    "trivet_last_resorts_total",
    "counter",
    "calls",
    "Engine calls that a GPU without room served because no CPU replica answered",
    ("model",),
)

# Graphs, counted in the ingress.
GRAPH_DOCUMENTS = Metric(
    "trivet_graph_documents_total", "counter", "events", "Documents of graphs, by result: done or refused", ("result",)
)
GRAPH_PAIRS = Metric(
    "trivet_graph_pairs_total", "counter", "events", "Pairs of passages that graphs read, by model", ("model",)
)
GRAPH_EDGES = Metric("trivet_graph_edges_total", "counter", "events", "Edges that graphs returned")

# The GPU, measured by the VRAM actor.
VRAM_TOTAL = Metric("trivet_vram_total_bytes", "gauge", "bytes", "Size of the GPU", ("device",))
VRAM_FREE = Metric("trivet_vram_free_bytes", "gauge", "bytes", "Free memory of the GPU", ("device",))
VRAM_OURS = Metric("trivet_vram_ours_bytes", "gauge", "bytes", "GPU memory of a model's replica", ("device", "model"))
VRAM_REUSABLE = Metric(
    "trivet_vram_reusable_bytes",
    "gauge",
    "bytes",
    "The part of trivet_vram_ours_bytes that the replica's allocator holds unused",
    ("device", "model"),
)
VRAM_EXTERNAL = Metric("trivet_vram_external_bytes", "gauge", "bytes", "GPU memory of other processes", ("device",))
VRAM_TENANT = Metric(
    "trivet_vram_tenant_bytes",
    "gauge",
    "bytes",
    "GPU memory of one model of the configured Ollama server",
    ("device", "tenant"),
)
VRAM_READABLE = Metric(
    "trivet_vram_readable", "gauge", "state", "1 while the GPU can be read, 0 while it cannot", ("device",)
)
LANE_DECISIONS = Metric(
    "trivet_lane_decisions_total",
    "counter",
    "events",
    "Changed decisions, by the model's new lane and its cause",
    (*MODEL_LANE, "cause"),
)

# The decisions, as an ingress applies them.
LANE_ON_GPU = Metric(
    "trivet_lane_on_gpu",
    "gauge",
    "state",
    "1 while a model's requests go to the GPU, 0 while they go to the CPU",
    ("model",),
)
SNAPSHOT_AGE = Metric(
    "trivet_vram_snapshot_age_seconds", "gauge", "seconds", "Age of the newest snapshot from the VRAM actor"
)

METRICS: tuple[Metric, ...] = tuple(value for value in list(globals().values()) if isinstance(value, Metric))
"""All metrics."""
