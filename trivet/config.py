"""The whole configuration, frozen, in one tree; unknown keys are refused by name.

`serve_config.yaml` carries these keys under `applications[0].args`, each with a comment; a test keeps the
two in step. Units are in the names, sizes are written as people write them (`500MiB`). Nothing here reads a
file, the environment or the machine.
"""

import logging
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import (
    BaseModel,
    ByteSize,
    ConfigDict,
    Field,
    HttpUrl,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

logger = logging.getLogger(__name__)

Task = Literal["embedder", "reranker", "classifier"]
TASKS: tuple[Task, ...] = ("embedder", "reranker", "classifier")

Lane = Literal["gpu", "cpu"]
"""Where a request runs: on a GPU replica of its model, or on a CPU replica."""

Precision = Literal["auto", "fp32", "bf16", "int8"]

MIB = 1024**2


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    RENAMED: ClassVar[Mapping[str, str]] = {}
    """Keys of earlier versions and what they are called now; accepted, with a warning in the log."""

    @model_validator(mode="before")
    @classmethod
    def _accept_renamed(cls, given: Any) -> Any:
        old = cls.RENAMED.keys() & given.keys() if isinstance(given, dict) else ()
        for key in old:
            if cls.RENAMED[key] in given:
                raise ValueError(f"{key} is the former name of {cls.RENAMED[key]}: give one of them")
            logger.warning("the configuration key %s is now called %s", key, cls.RENAMED[key])
        return {cls.RENAMED.get(key, key): value for key, value in given.items()} if old else given


class ModelConfig(_Frozen):
    """One of the three models."""

    model: Annotated[str, Field(min_length=1)] = "starter"
    """`starter`, a hub id such as `BAAI/bge-reranker-base`, or a local directory in Hugging Face layout."""
    gpu_fraction: Annotated[float, Field(gt=0, le=1)] = 0.3
    """Share of the GPU that Ray books for the GPU replica, and its allocator's cap."""
    max_tokens: PositiveInt | None = None
    """Longest sequence given to the model; longer texts are windowed. Null: what the model's files say."""


class CpuConfig(_Frozen):
    """The CPU lane."""

    precision: Precision = "auto"
    """`auto` is bf16 where the processor has AVX512-BF16 or AMX, else fp32. `int8` is by choice."""
    threads: PositiveInt | None = None
    """Threads per CPU replica. Null: every core the process may use."""
    token_budget: PositiveInt = 1024
    """Tokens in one forward. A CPU gains little past about 512."""
    replicas: PositiveInt = 1
    """CPU replicas of each model, spread over the nodes of a cluster."""


class GpuConfig(_Frozen):
    """The GPU lane."""

    dtype: Literal["auto", "bf16", "fp16"] = "auto"
    """`auto` is bf16 where the GPU supports it, else fp16."""
    token_budget: PositiveInt = 16384
    """Padded tokens in one forward; shrinks by itself when the GPU runs out of memory."""
    replicas: PositiveInt = 1
    """GPU replicas of each model, at most one per node: the number of GPU nodes of a cluster."""


class VramConfig(_Frozen):
    """When a model leaves the GPU, and when it returns."""

    RENAMED = {"park_after_s": "offload_after_s"}

    reroute_below: ByteSize = ByteSize(500 * MIB)
    """Below this much free VRAM (its own cached memory counted as free) a model's work goes to the CPU."""
    resume_above: ByteSize = ByteSize(1024 * MIB)
    """Above this much free VRAM, after `dwell_s`, it returns."""
    dwell_s: PositiveFloat = 5.0
    """A model that switched lanes does not return to the GPU before this much time has passed."""
    offload_after_s: PositiveFloat | None = 60.0
    """After this long without room a model's weights leave the GPU until there is room again. Null: never."""
    probe_interval_s: PositiveFloat = 0.5
    """How often free VRAM is read."""
    grace_s: PositiveFloat = 5.0
    """How long the last decision holds without news of the GPU; afterwards work goes to the CPU."""
    ollama_url: HttpUrl | None = None
    """An Ollama server on this machine: its models are named as tenants of the GPU. Null: nobody is asked."""
    ollama_unload: Literal["never", "idle"] = "never"
    """`idle`: while one of our models has no room, ask Ollama to unload models that nobody uses."""

    @model_validator(mode="after")
    def _thresholds_leave_a_gap(self) -> Self:
        if self.resume_above <= self.reroute_below:
            raise ValueError("vram.resume_above must exceed vram.reroute_below, or lanes would flap")
        return self


class SimulatedConfig(_Frozen):
    """The modelled GPU of `device: simulated`."""

    RENAMED = {"foreign": "external"}

    vram: ByteSize = ByteSize(8 * 1024 * MIB)
    """Size of the GPU."""
    external: tuple[tuple[NonNegativeFloat, ByteSize], ...] = ((0.0, ByteSize(0)),)
    """What another process holds: pairs of seconds after ready and bytes."""


class WindowConfig(_Frozen):
    """How a text longer than the model is read."""

    overlap_tokens: Annotated[int, Field(ge=0)] = 64
    """Tokens that neighbouring windows share."""


class LimitsConfig(_Frozen):
    """What one request may ask for, refused at the door otherwise."""

    max_body: ByteSize = ByteSize(8 * MIB)
    """Largest request body."""
    max_open_bodies: ByteSize = ByteSize(256 * MIB)
    """Bodies of all open requests together, in one ingress; beyond it: 429 with Retry-After."""
    max_inputs: PositiveInt = 2048
    """Most texts, documents, candidates or pairs in one request."""
    max_sequences: PositiveInt = 16384
    """Most model inputs (windows × labels × texts) that one request may unfold into."""
    max_request_tokens: PositiveInt = 1_000_000
    """Most tokens that one request may unfold into, counted exactly before any of them is queued."""
    max_queued_tokens: PositiveInt = 2_000_000
    """Tokens that may wait in one replica; beyond it requests get 429 with Retry-After."""
    max_open_characters: PositiveInt = 64_000_000
    """Characters that open requests to one model may hold in one ingress; beyond it: 429 with Retry-After."""
    request_timeout_s: PositiveFloat = 300.0
    """Deadline of a request that names none."""


class ServingConfig(_Frozen):
    """Replicas and Ray."""

    ingress_replicas: PositiveInt = 2
    """Copies of the HTTP ingress. Two use both cores of a small machine; one answers while the other is replaced."""
    retry_s: PositiveFloat = 30.0
    """How long work of a lost replica is sent again before the caller gets 503."""
    forward_limit_s: PositiveFloat = 180.0
    """A forward that runs longer is stuck: its replica is replaced."""
    max_ongoing_requests: PositiveInt = 256
    """Requests that one replica holds at a time."""
    models_dir: str | None = None
    """A folder of checkpoints by hub id (`BAAI/bge-reranker-base`), looked into before the hub. Null: none."""
    cache_dir: str | None = None
    """Where converted models are kept. Null: `$TRIVET_CACHE`, else `~/.cache/trivet`."""


class ApiConfig(_Frozen):
    """Who may call, and by which names."""

    keys_file: str | None = None
    """File of bearer keys, hashed (`trivet key NAME` makes a line). Null: `$TRIVET_API_KEYS`, else no keys."""
    model_aliases: dict[str, str] = Field(default_factory=dict)
    """Further names that clients may send as `model`, each for a served name or a task (`embedder`, …)."""
    truncate_means: Literal["window", "truncate"] = "window"
    """What `truncate: true` asks for in the TEI dialect, whose clients send it by default."""


class CacheConfig(_Frozen):
    """Results kept by what they were computed from. With `memory` and `disk` both 0 there is no cache."""

    memory: ByteSize = ByteSize(64 * MIB)
    """Memory for results in each ingress. 0: none."""
    disk: ByteSize = ByteSize(0)
    """Size of the results file, which survives restarts. 0: none."""
    dir: str | None = None
    """Folder of that file, on a local disk. Null: `results` in `serving.cache_dir`."""


class TelemetryConfig(_Frozen):
    """What requests leave behind."""

    request_log: bool = True
    """Write one line per request, with its route, lane and timings, and never its text."""


DEFAULT_RELATIONS: dict[str, str] = {
    "dependency": "The first text depends on the second.",
    "expansion": "The second text expands on the first.",
    "contradiction": "The two texts contradict each other.",
    "unrelated": "The two texts are unrelated.",
}


class AppConfig(_Frozen):
    """`applications[0].args`."""

    RENAMED = {"absent_relation": "no_relation"}

    device: Literal["auto", "cpu", "cuda", "simulated"] = "auto"
    """`auto` binds the GPU lane only where the cluster has a GPU; `simulated` models one on the CPU."""
    embedder: ModelConfig = ModelConfig()
    reranker: ModelConfig = ModelConfig()
    classifier: ModelConfig = ModelConfig()
    cpu: CpuConfig = CpuConfig()
    gpu: GpuConfig = GpuConfig()
    vram: VramConfig = VramConfig()
    simulated: SimulatedConfig = SimulatedConfig()
    windows: WindowConfig = WindowConfig()
    limits: LimitsConfig = LimitsConfig()
    serving: ServingConfig = ServingConfig()
    api: ApiConfig = ApiConfig()
    cache: CacheConfig = CacheConfig()
    telemetry: TelemetryConfig = TelemetryConfig()
    relations: dict[Annotated[str, Field(min_length=1)], Annotated[str, Field(min_length=1)]] = Field(
        default_factory=lambda: dict(DEFAULT_RELATIONS), min_length=2
    )
    """Label → hypothesis put to the classifier about a pair of texts."""
    no_relation: str | None = "unrelated"
    """The label that holds only where no window of a long pair shows another one. Null: there is none."""
    threshold: Annotated[float, Field(ge=0, le=1)] | None = None
    """Least confidence of an edge where a request names none. Null: what the starter classifier was calibrated to."""
    min_relevance: Annotated[float, Field(ge=0, le=1)] | None = None
    """Least relevance of a candidate where a request names none. Null: what the starter reranker was calibrated to."""

    pickled_models: tuple[str, ...] = ()
    """Models, as `model` names them, whose weights may be a pickle. A pickle of any other one is refused."""

    def model_for(self, task: Task) -> ModelConfig:
        """The configuration of one of the three models."""
        config: ModelConfig = getattr(self, task)
        return config

    @model_validator(mode="after")
    def _fractions_fit_one_gpu(self) -> Self:
        booked = sum(self.model_for(task).gpu_fraction for task in TASKS)
        if booked > 1.0 + 1e-9:
            raise ValueError(f"gpu_fraction of the three models adds up to {booked:.2f}; one GPU has 1.0")
        return self
