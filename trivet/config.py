"""The configuration as one tree of frozen models. Unknown keys are rejected, and the error names them.

`serve_config.yaml` has the same keys under `applications[0].args`, each with a comment; a test keeps the two in step.
Durations have their unit in the name; sizes are written with theirs (`500MiB`). Nothing here reads a file, the
environment or the machine.
"""

import logging
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ByteSize,
    ConfigDict,
    Discriminator,
    Field,
    NonNegativeFloat,
    PositiveFloat,
    Tag,
    field_validator,
    model_validator,
)

from trivet.ollama_host import server_url
from trivet.units import MIB

logger = logging.getLogger(__name__)

Task = Literal["embedder", "reranker", "classifier"]
TASKS: tuple[Task, ...] = ("embedder", "reranker", "classifier")

Output = Literal["dense", "sparse", "tokens"]
"""What an embedder makes of a text: one vector, weights by token id, or a vector of each token."""

Lane = Literal["gpu", "cpu"]
"""The device that serves a request: a GPU replica of its model, or a CPU replica."""


def _form_of_placement(given: Any) -> str:
    return "indices" if isinstance(given, Mapping) else "word"


GpuPlacement = Annotated[
    Annotated[Literal["spread", "pack"], Tag("word")]
    | Annotated[dict[Task, Annotated[int, Field(ge=0)]], Tag("indices")],
    Discriminator(_form_of_placement),
]
"""How the models' replicas are divided among the GPUs of a node. An error is of the form that was given."""

CpuPrecision = Literal["fp32", "bf16", "int8"]
GpuDtype = Literal["bf16", "fp16", "fp32"]
Precision = Literal["auto", CpuPrecision]

MOST = 2**53 - 1
"""The largest whole number that every reader of JSON reads as it is."""
Count = Annotated[int, Field(gt=0, le=MOST)]
MOST_TOKENS = 2**31 - 1
"""Of one forward: their memory is a number of bytes that fits 64 bits."""


def _rising(pair: tuple[float, float]) -> tuple[float, float]:
    if not pair[0] < pair[1]:
        raise ValueError("must rise, as in [0.3, 0.5]")
    return pair


Cosine = Annotated[float, Field(ge=-1, le=1)]
RisingCosines = Annotated[tuple[Cosine, Cosine], AfterValidator(_rising)]

FilePath = Annotated[str, Field(min_length=1, pattern=r"^[^\x00]+$")]
"""A path as it is written. An empty one would mean the default to one reader and the current folder to another."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, protected_namespaces=())

    RENAMED: ClassVar[Mapping[str, str]] = {}
    """Former key → current key. Former keys are accepted, with a warning in the log."""

    @model_validator(mode="before")
    @classmethod
    def _accept_renamed(cls, given: Any) -> Any:
        old = cls.RENAMED.keys() & given.keys() if isinstance(given, dict) else ()
        for key in old:
            if cls.RENAMED[key] in given:
                raise ValueError(f"{key} is the former name of {cls.RENAMED[key]}; give only {cls.RENAMED[key]}")
            logger.warning("the configuration key %s is now called %s", key, cls.RENAMED[key])
        return {cls.RENAMED.get(key, key): value for key, value in given.items()} if old else given


class ModelConfig(_Frozen):
    """One of the three models."""

    model: FilePath = "starter"
    """`starter`, a hub id such as `BAAI/bge-reranker-base`, or a local directory in Hugging Face layout."""
    gpu_fraction: Annotated[float, Field(gt=0, le=1)] = 0.3
    """Share of the GPU that Ray reserves for the GPU replica. Its allocator may take this share without what the
    process holds besides (the CUDA context, kernels): as measured, or 450 MiB where the driver does not say it."""
    max_tokens: Annotated[int, Field(ge=8)] | None = None
    """Longest sequence in tokens; longer texts are read in windows. Null: the limit in the model's files. With fewer
    than 8, the marks around a text would leave no room for it."""


class EmbedderConfig(ModelConfig):
    """Which model embeds texts, and what its files do not state."""

    prompts: dict[Annotated[str, Field(min_length=1)], str] | None = None
    """Text in front of queries and documents, such as `{query: "query: ", document: "passage: "}`. Null: the prompts in
    the model's files."""
    dimensions: tuple[Count, ...] = ()
    """Smaller vector sizes that the model was trained for, besides those that its files state."""
    splade: bool = False
    """Whether a masked language model without `modules.json` is a SPLADE, which gives weights by token id. Models with
    `splade` in their name are."""


RerankTemplate = Literal["qwen3-reranker", "mxbai-rerank-v2", "bge-reranker-v2-gemma"]


class BlendConfig(_Frozen):
    """How the embedder's similarity enters a reranker's score: see `trivet.dispatch.blending.Blend`."""

    cosine_weight: Annotated[float, Field(ge=0)]
    """Weight of the cosine beside the logit. 0: the reranker alone, whatever else is set."""
    logit_floor: float | None = None
    """Logits below it count as this much. Null: none do."""
    trusted_between: RisingCosines | None = None
    """What a logit has above the floor does not count up to the first cosine, counts in full from the second one, and
    in part between them. Null: it always counts in full."""
    scale: PositiveFloat = 1.0
    """Factor of the sum, which calibrates the score."""
    shift: float = 0.0
    """Added to it."""

    @model_validator(mode="after")
    def _trusts_above_a_floor(self) -> Self:
        if self.trusted_between is not None and self.logit_floor is None:
            raise ValueError(
                "trusted_between needs logit_floor: what a logit has above it is what counts by the cosine"
            )
        return self


class RerankerConfig(ModelConfig):
    """Which model scores documents, and how its scores are made."""

    blend: BlendConfig | None = None
    """Adds the embedder's similarity to the score. Null: as the model's card says, which the starter's does."""

    template: RerankTemplate | None = None
    """The prompt of a causal reranker whose files have none. Null: by the model's name, if Trivet knows it."""


class ReplicaBounds(_Frozen):
    """How many replicas of each model run, by load. A number alone stands for both bounds."""

    min: Count = 1
    """Replicas without load."""
    max: Count = 1
    """Replicas under load, at most. Each takes the memory of the model."""

    @model_validator(mode="before")
    @classmethod
    def _accept_a_number(cls, given: Any) -> Any:
        if isinstance(given, int) and not isinstance(given, bool):
            return {"min": given, "max": given}
        if isinstance(given, dict | cls):
            return given
        raise ValueError(f"{given!r} is neither a number of replicas nor bounds such as {{min: 1, max: 4}}")

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.min > self.max:
            raise ValueError(f"min ({self.min}) exceeds max ({self.max}): swap them, or give one number")
        return self

    @property
    def scales(self) -> bool:
        """Whether the number follows the load."""
        return self.min < self.max

    def __str__(self) -> str:
        return f"{self.min} to {self.max}" if self.scales else str(self.min)


class CpuConfig(_Frozen):
    """The CPU lane."""

    precision: Precision = "auto"
    """`auto` is bf16 if the processor has AVX512-BF16 or AMX, else fp32. `int8` must be chosen explicitly."""
    threads: Annotated[int, Field(gt=0, le=4096)] | None = None
    """Threads per CPU replica. Null: every core the process may use."""
    token_budget: Annotated[int, Field(gt=0, le=MOST_TOKENS)] = 1024
    """Maximum tokens in one forward. A CPU gains little beyond about 512."""
    rest_after_s: PositiveFloat | None = None
    """Beside a GPU with room, a CPU replica that has computed nothing for this long drops its weights from memory, and
    opens them again when the GPU runs short of memory. Null: it keeps them."""
    replicas: ReplicaBounds = ReplicaBounds()
    """CPU replicas of each model, spread over the nodes of a cluster. `{min: 1, max: 4}`: as many as the load needs."""


class GpuConfig(_Frozen):
    """The GPU lane."""

    dtype: Literal["auto", GpuDtype] = "auto"
    """`auto` is bf16 if the GPU supports it, else fp16. A model whose numbers exceed fp16 (Gemma, large Qwen) is then
    computed in fp32. `fp32` takes twice the memory and several times the time."""
    token_budget: Annotated[int, Field(gt=0, le=MOST_TOKENS)] = 16384
    """Maximum tokens in one forward. At the start it is lowered to what this GPU computes within `forward_ms`, and it
    shrinks while the GPU runs out of memory."""
    forward_ms: PositiveFloat = 20.0
    """Longest time of one forward. Under full load a short request takes three of them: two that are in flight when it
    comes, and the one that computes it. A single text that takes longer is a forward by itself."""
    stuck_after_s: PositiveFloat = 5.0
    """A forward that runs for longer, and ten times as long as its tokens usually take, is stuck: its requests, and all
    that come until it ends, go to the CPU."""
    graph_tokens: Annotated[int, Field(ge=0, le=MOST_TOKENS)] = 16384
    """Batches of up to this many tokens are replayed as CUDA graphs, which saves the time of launching them. The graphs
    take as much memory on the GPU as a forward of this size; 0 switches them off."""
    replicas: Count = 1
    """GPU replicas of each model, at most one per GPU. Set it to the number of the cluster's GPUs to use them all for
    every model."""
    placement: GpuPlacement = "spread"
    """On a node with several GPUs a replica takes the GPU with the fewest models (`spread`), the first one (`pack`), or
    the one of this index (`{embedder: 0, reranker: 1}`; models that are not named are spread)."""


class VramConfig(_Frozen):
    """When a model leaves the GPU, and when it returns."""

    RENAMED = {"park_after_s": "offload_after_s", "ollama_url": "ollama_hosts"}

    reroute_below: ByteSize = ByteSize(500 * MIB)
    """A model with less free VRAM than this leaves the GPU. Its own cached memory counts as free, and so does that of
    idle replicas beside it."""
    resume_above: ByteSize = ByteSize(1024 * MIB)
    """A model returns to the GPU when at least this much VRAM is free and `dwell_s` has passed."""
    dwell_s: PositiveFloat = 5.0
    """Minimum time between a model's last lane change and its return to the GPU."""
    offload_after_s: PositiveFloat | None = 60.0
    """A model's weights are offloaded after it has lacked room for this long, until there is room again. Null:
    never."""
    trim_after_s: PositiveFloat | None = 10.0
    """A GPU replica that has computed nothing for this long returns its cached memory while less than `resume_above` of
    VRAM is free. Null: never."""
    probe_interval_s: PositiveFloat = 0.5
    """Interval between two readings of free VRAM."""
    grace_s: PositiveFloat = 5.0
    """How long the last decision holds without news of the GPU; afterwards work goes to the CPU."""
    ollama_hosts: tuple[str, ...] = ()
    """Ollama servers on this machine, whose models are then listed as tenants of the GPU, each in any form that
    `OLLAMA_HOST` may have: `127.0.0.1`, `gpu:11435`, `https://ollama.lan/path`. One address needs no list."""
    ollama_unload: Literal["never", "idle"] = "never"
    """`idle`: while one of our models lacks room, ask Ollama to unload idle models. `never`: do not."""

    @field_validator("ollama_hosts", mode="before")
    @classmethod
    def _accept_one_host(cls, given: Any) -> Any:
        return () if given is None else (given,) if isinstance(given, str) else given

    @field_validator("ollama_hosts")
    @classmethod
    def _as_urls(cls, given: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(server_url(address) for address in given))

    @model_validator(mode="after")
    def _thresholds_leave_a_gap(self) -> Self:
        if self.resume_above <= self.reroute_below:
            raise ValueError(
                f"vram.resume_above ({int(self.resume_above)} bytes) must exceed vram.reroute_below "
                f"({int(self.reroute_below)} bytes), otherwise lanes would flap"
            )
        return self


class SimulatedGpuConfig(_Frozen):
    """One modelled GPU. A size alone stands for a GPU without an external process."""

    vram: ByteSize = ByteSize(8 * 1024 * MIB)
    """Size of the GPU."""
    external: tuple[tuple[NonNegativeFloat, ByteSize], ...] = ((0.0, ByteSize(0)),)
    """Memory of an external process: pairs of seconds after the service is ready, and bytes."""

    @model_validator(mode="before")
    @classmethod
    def _accept_a_size(cls, given: Any) -> Any:
        return {"vram": given} if isinstance(given, str | int) else given


class SimulatedConfig(SimulatedGpuConfig):
    """The modelled GPUs of `device: simulated`."""

    RENAMED = {"foreign": "external"}

    gpus: tuple[SimulatedGpuConfig, ...] = ()
    """The GPUs of every node, such as `[8GiB, 8GiB]` or `[{vram: 8GiB, external: …}, …]`. Empty: one GPU, with `vram`
    and `external`."""

    def all_gpus(self) -> tuple[SimulatedGpuConfig, ...]:
        """Return the GPUs of every node."""
        return self.gpus or (SimulatedGpuConfig(vram=self.vram, external=self.external),)


class WindowConfig(_Frozen):
    """How texts longer than the model's limit are split into windows."""

    overlap_tokens: Annotated[int, Field(ge=0)] = 64
    """Tokens that adjacent windows share."""


class PassagesConfig(_Frozen):
    """How texts are divided for relations and graphs."""

    max_tokens: Annotated[int, Field(ge=32)] = 200
    """Estimated tokens of a passage, at most. Lowered where a model reads less."""


class LimitsConfig(_Frozen):
    """Limits of requests and queues; the ingress rejects a request that exceeds them."""

    max_body: ByteSize = ByteSize(8 * MIB)
    """Largest request body."""
    max_open_bodies: ByteSize = ByteSize(256 * MIB)
    """Total size of the bodies of all open requests in one ingress; beyond it: 429 with Retry-After. The unread parts
    of all answers may be as large; beyond it the one whose caller has read nothing for longest is ended."""
    max_inputs: Count = 2048
    """Maximum number of texts, documents, candidates or pairs in one request."""
    max_elements: Count = 32_768
    """Maximum number of JSON values in one request body; members of an object count once."""
    max_expanded_characters: Count = 16_000_000
    """Maximum number of characters that one request may expand to: of the texts as the models read them, with labels
    filled into the template and the source repeated for each candidate, and of the labels in the answer."""
    max_sequences: Count = 16384
    """Maximum number of sequences (texts × labels × windows) that one request may expand to."""
    max_request_tokens: Count = 1_000_000
    """Maximum number of tokens that one request may expand to, counted exactly before any of them is queued."""
    max_queued_tokens: Count = 2_000_000
    """Maximum number of tokens in the queue of one replica; beyond it requests get 429 with Retry-After."""
    max_open_characters: Count = 64_000_000
    """Characters of all open requests to one model in one ingress; beyond it: 429 with Retry-After."""
    max_graph_tokens: Count = 500_000_000
    """Maximum number of tokens that one graph may take, estimated from the size of its documents."""
    max_graphs: Count = 2
    """Graphs that one ingress computes at a time; beyond it: 429 with Retry-After."""
    unread_timeout_s: PositiveFloat = 60.0
    """An answer of which its caller reads nothing for this long is ended."""
    request_timeout_s: PositiveFloat = 300.0
    """Deadline of a request. It may set an earlier one; Serve and HAProxy end what takes longer than this one."""


class ServingConfig(_Frozen):
    """Replicas and Ray."""

    ingress_replicas: Count = 2
    """Replicas of the HTTP ingress. Two use both cores of a small machine, and one serves while the other restarts."""
    retry_s: PositiveFloat = 30.0
    """How long the work of a lost replica is retried before the caller gets 503."""
    forward_limit_s: PositiveFloat = 180.0
    """A forward that runs longer counts as stuck, and its replica is replaced."""
    max_ongoing_requests: Count = 256
    """Maximum number of requests that one replica holds at a time."""
    models_dir: FilePath | None = None
    """A folder of checkpoints by hub id (`BAAI/bge-reranker-base`), which takes precedence over the hub. It must
    exist. Null: none."""
    cache_dir: FilePath | None = None
    """Folder for converted models. Null: `$TRIVET_CACHE`, else `~/.cache/trivet`."""


class ApiConfig(_Frozen):
    """API keys and model names."""

    keys_file: FilePath | None = None
    """File of hashed bearer keys (`trivet key NAME` prints a line for it). Null: `$TRIVET_API_KEYS`, else no keys."""
    model_aliases: dict[str, str] = Field(default_factory=dict)
    """Alias → served name or task (`embedder`, …), for clients that send other names as `model`."""
    common_model_names: bool = False
    """Accept the names that programs send by default (`text-embedding-3-small`, `rerank-v3.5`, …; the list is
    `trivet/api/common_names.py`), each for the model of its task. `model_aliases` overrides them."""
    allowed_origins: tuple[str, ...] = ()
    """Origins of web pages that may call the API from a browser (CORS), such as `http://localhost:3000`, or `*` for
    all. Empty: none but the service's own page."""
    truncate_means: Literal["window", "truncate"] = "window"
    """Effect of `truncate: true` in the TEI dialect, whose clients send it by default."""
    untrained_dimensions: Literal["report", "refuse"] = "report"
    """Answer to `dimensions` for which neither the model's files nor `embedder.dimensions` say that it was trained: cut
    the vectors and say so in the header `x-trivet-dimensions`, or refuse."""


class CacheConfig(_Frozen):
    """The cache of results, keyed by their inputs. With `memory` and `disk` both 0 there is no cache."""

    memory: ByteSize = ByteSize(64 * MIB)
    """Memory for results in each ingress, and size of a file that the ingresses of a machine share. 0: none."""
    disk: ByteSize = ByteSize(0)
    """Size of the results file, which survives restarts. 0: none."""
    dir: FilePath | None = None
    """Folder of that file, on a local disk. Null: `results` in `serving.cache_dir`."""


class TelemetryConfig(_Frozen):
    """Logging of requests."""

    request_log: bool = True
    """Write one log line per request, with its route, lane and timings, but never its text."""


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
    """`auto` uses the GPU lane if the cluster has a GPU; `simulated` models a GPU on the CPU."""
    embedder: EmbedderConfig = EmbedderConfig()
    reranker: RerankerConfig = RerankerConfig()
    classifier: ModelConfig = ModelConfig()
    cpu: CpuConfig = CpuConfig()
    gpu: GpuConfig = GpuConfig()
    vram: VramConfig = VramConfig()
    simulated: SimulatedConfig = SimulatedConfig()
    windows: WindowConfig = WindowConfig()
    passages: PassagesConfig = PassagesConfig()
    limits: LimitsConfig = LimitsConfig()
    serving: ServingConfig = ServingConfig()
    api: ApiConfig = ApiConfig()
    cache: CacheConfig = CacheConfig()
    telemetry: TelemetryConfig = TelemetryConfig()
    relations: dict[Annotated[str, Field(min_length=1)], Annotated[str, Field(min_length=1)]] = Field(
        default_factory=lambda: dict(DEFAULT_RELATIONS), min_length=2
    )
    """Label → the hypothesis about a pair of texts that the classifier scores for it."""
    no_relation: str | None = "unrelated"
    """The label of a long pair in which no window shows another relation. Null: there is no such label."""
    symmetric_relations: tuple[str, ...] = ("contradiction", "unrelated")
    """Labels without a direction: both texts may come first. Others are ignored where no relation has their name."""
    link_relation: str | None = "dependency"
    """In graphs, the relation of code that uses what other code defines. Null, or where no relation has this name: the
    classifier alone names it."""
    clear_unrelated: Annotated[float, Field(gt=0, le=1)] | None = None
    """Score of `no_relation`, read alone, from which no relation of two passages reaches `threshold`, so that none is
    read. It does not apply to requests with a lower threshold. 1: all are always read. Null: the one measured for the
    starter classifier, and 1 for others."""
    threshold: Annotated[float, Field(ge=0, le=1)] | None = None
    """Default minimum confidence of an edge. Null: the calibrated threshold of the starter classifier."""
    min_relevance: Annotated[float, Field(ge=0, le=1)] | None = None
    """Default minimum relevance of a candidate. Null: the calibrated threshold of the starter reranker."""

    pickled_models: tuple[str, ...] = ()
    """Values of `model` whose weights may be a pickle file. All other models with pickled weights are refused."""

    def model_for(self, task: Task) -> ModelConfig:
        """Return the configuration of the model for `task`."""
        config: ModelConfig = getattr(self, task)
        return config

    @model_validator(mode="after")
    def _fractions_fit_one_gpu(self) -> Self:
        # By index, models may be on different GPUs; one that has no index may come to any of them.
        by_index = self.gpu.placement if isinstance(self.gpu.placement, dict) else {}
        for index in set(by_index.values()) or {0}:
            tasks = [task for task in TASKS if by_index.get(task, index) == index]
            total = sum(self.model_for(task).gpu_fraction for task in tasks)
            if total > 1.0 + 1e-9:
                raise ValueError(
                    f"gpu_fraction of {', '.join(tasks)} adds up to {total:.2f}, but one GPU has 1.0: lower one of them"
                )
        return self
