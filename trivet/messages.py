"""The messages between the HTTP side and a replica: plain, frozen, picklable.

Requests hold texts; results hold numpy arrays, counts and timings. Neither holds tensors, tokens or HTTP.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Generic, Literal, TypeVar, cast

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from trivet.config import GpuDtype, Output, Task

LongInput = Literal["window", "error", "truncate"]
InputType = Literal["query", "document"]
Priority = Literal["interactive", "bulk"]

Floats = NDArray[np.float32]
Ids = NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class StageTimings:
    """Seconds that a request spent in each stage of a replica."""

    tokenize_s: float = 0.0
    queue_s: float = 0.0
    forward_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Usage:
    """What the model read, per input in request order."""

    input_tokens: tuple[int, ...]
    """Tokens of that input's sequences, special tokens and overlaps included, padding not."""
    windows: tuple[int, ...]
    """Windows of that input."""
    truncated: tuple[bool, ...]
    """Whether text of that input was left unread."""
    sequences_per_window: int = 1
    """Model inputs that each window became: as many as there are hypotheses."""

    @property
    def tokens(self) -> int:
        """Tokens of all inputs."""
        return sum(self.input_tokens)

    @property
    def sequences(self) -> int:
        """Model inputs of all inputs."""
        return sum(self.windows) * self.sequences_per_window


@dataclass(frozen=True, slots=True)
class SparseVector:
    """The weights above 0 of a text over a vocabulary: token ids, ascending, and their weights, each (entries,)."""

    indices: Ids
    values: Floats


NO_VECTORS: Floats = np.empty((0, 0), dtype=np.float32)
"""Of a result that has other outputs."""


@dataclass(frozen=True, slots=True)
class EmbedResult:
    """What was asked for, by input; the other fields are empty.

    `vectors` is (inputs, dimensions) float32. `sparse` has a vector over the vocabulary for each input. `tokens` has
    an array for each input, (tokens that count, dimensions) float32.
    """

    vectors: Floats
    usage: Usage
    timings: StageTimings
    device: str
    sparse: tuple[SparseVector, ...] = ()
    tokens: tuple[Floats, ...] = ()


@dataclass(frozen=True, slots=True)
class RerankResult:
    """`logits` is (documents,) float32; `scores` are their logistic function, 0..1, whatever the model states."""

    logits: Floats
    scores: Floats
    usage: Usage
    timings: StageTimings
    device: str


@dataclass(frozen=True, slots=True)
class ClassifyResult:
    """`logits` and `scores` are (inputs, labels) float32 in the order of the request's hypotheses.

    `logits` are those of entailment, so results of the same inputs with other hypotheses can be put together.
    """

    logits: Floats
    scores: Floats
    usage: Usage
    timings: StageTimings
    device: str


@dataclass(frozen=True, slots=True)
class PredictResult:
    """`logits` and `scores`, their softmax, are (inputs, classes) float32 in the order of `labels`."""

    labels: tuple[str, ...]
    logits: Floats
    scores: Floats
    usage: Usage
    timings: StageTimings
    device: str


EngineResult = EmbedResult | RerankResult | ClassifyResult | PredictResult

ResultT = TypeVar("ResultT", bound=EngineResult)
ResultT_co = TypeVar("ResultT_co", bound=EngineResult, covariant=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Request(Generic[ResultT_co]):
    """A request that a model answers with forwards; the type parameter is its result.

    Each kind names the task that answers it, so a dispatcher needs one method for all of them.
    """

    task: ClassVar[Task]
    result_type: ClassVar[type[EngineResult]]

    long_input: LongInput = "window"
    priority: Priority = "interactive"
    no_store: bool = False
    """Neither answer it from the cache nor keep its results there."""
    inputs_field: str = "input"
    """Name of the caller's field that held the inputs, for error messages."""

    @property
    def characters(self) -> int:
        """Size of the texts that the model reads."""
        raise NotImplementedError

    @property
    def held_characters(self) -> int:
        """Characters as which the request counts while it is open: more than it has, where its result is large."""
        return self.characters

    def checked(self, reply: object) -> ResultT_co:
        """`reply` as this request's type of result; TypeError if it is another one."""
        if not isinstance(reply, self.result_type):
            raise TypeError(f"{type(self).__name__} was answered with {type(reply).__name__}")
        return cast("ResultT_co", reply)


_HELD_PER_CHARACTER = 256
"""A token of four characters has a vector of up to 4 KiB."""

EngineRequest = Request[EngineResult]
"""A request of any kind."""


@dataclass(frozen=True, slots=True)
class EmbedRequest(Request[EmbedResult]):
    """Texts to embed. `prompt_name` overrides the prompt that `input_type` selects from the model's files.

    `output` is what to make of each text: one vector, weights by token id, or a vector of each token. A model gives
    those of its card. `dimensions` and `normalize` are of the one vector alone.
    """

    task: ClassVar[Task] = "embedder"
    result_type: ClassVar[type[EngineResult]] = EmbedResult

    texts: tuple[str, ...]
    input_type: InputType | None = None
    prompt_name: str | None = None
    dimensions: int | None = None
    normalize: bool | None = None
    """None: as the model's own files say."""
    output: Output = "dense"
    instruction: str | None = None
    """What the search is for, which replaces the task in the model's prompt for queries."""

    @property
    @override
    def characters(self) -> int:
        return sum(map(len, self.texts))

    @property
    @override
    def held_characters(self) -> int:
        return self.characters * (_HELD_PER_CHARACTER if self.output == "tokens" else 1)


@dataclass(frozen=True, slots=True)
class RerankRequest(Request[RerankResult]):
    """One query against many documents, which are the inputs."""

    task: ClassVar[Task] = "reranker"
    result_type: ClassVar[type[EngineResult]] = RerankResult

    query: str
    documents: tuple[str, ...]
    inputs_field: str = field(default="documents", kw_only=True)
    query_field: str = field(default="query", kw_only=True)
    similarities: tuple[float, ...] | None = field(default=None, kw_only=True)
    """Cosines of the query's and each document's vectors, where the caller has them: a blended score needs them."""

    @property
    @override
    def characters(self) -> int:
        return len(self.query) + sum(map(len, self.documents))


@dataclass(frozen=True, slots=True)
class PairText:
    """A premise: one text, or two that are judged as a pair."""

    text: str
    text_pair: str | None = None


@dataclass(frozen=True, slots=True)
class ClassifyRequest(Request[ClassifyResult]):
    """Premises against a set of hypotheses, `label → hypothesis`.

    `no_relation_label` is aggregated over windows by minimum instead of maximum: it holds only where no window
    shows anything else.
    """

    task: ClassVar[Task] = "classifier"
    result_type: ClassVar[type[EngineResult]] = ClassifyResult

    inputs: tuple[PairText, ...]
    hypotheses: Mapping[str, str]
    multi_label: bool = False
    no_relation_label: str | None = None

    @property
    @override
    def characters(self) -> int:
        return _pair_characters(self.inputs) + sum(map(len, self.hypotheses.values()))


@dataclass(frozen=True, slots=True)
class PredictRequest(Request[PredictResult]):
    """Texts or pairs for the classes that the classifier was trained on; the caller gives no labels.

    For an NLI model a pair is premise and hypothesis, and the classes are entailment and its opposites.
    """

    task: ClassVar[Task] = "classifier"
    result_type: ClassVar[type[EngineResult]] = PredictResult

    inputs: tuple[PairText, ...]
    inputs_field: str = field(default="inputs", kw_only=True)

    @property
    @override
    def characters(self) -> int:
        return _pair_characters(self.inputs)


def _pair_characters(inputs: tuple[PairText, ...]) -> int:
    return sum(len(item.text) + len(item.text_pair or "") for item in inputs)


@dataclass(frozen=True, slots=True)
class TokenizeRequest:
    """Texts to split into the tokens that one of the models reads; needs no forward, so it is no `Request`."""

    texts: tuple[str, ...]
    task: Task = "embedder"
    """Which model's tokenizer."""
    add_special_tokens: bool = True


@dataclass(frozen=True, slots=True)
class Token:
    """One token. `start` and `stop` are positions in the text, in characters; a special token has none."""

    id: int
    text: str
    special: bool
    start: int | None
    stop: int | None


@dataclass(frozen=True, slots=True)
class TokenizeResult:
    """The tokens of each text."""

    tokens: tuple[tuple[Token, ...], ...]


@dataclass(frozen=True, slots=True)
class DetokenizeRequest:
    """Token ids of one of the models to turn into texts; needs no forward, so it is no `Request`."""

    ids: tuple[tuple[int, ...], ...]
    task: Task = "embedder"
    """Which model's tokenizer."""
    skip_special_tokens: bool = True
    ids_field: str = "ids"
    """What errors call the ids."""


@dataclass(frozen=True, slots=True)
class DetokenizeResult:
    """The text of each list of ids."""

    texts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class GpuFacts:
    """How a GPU replica computes its model."""

    dtype: GpuDtype
    dtype_because: str | None = None
    """Why it is not the precision that was asked for, or the usual one of this GPU; None if it is."""
    attention_padded_because: str | None = None
    """Why attention alone runs on padded sequences; None if it does not."""


@dataclass(frozen=True, slots=True)
class ModelCard:
    """Describes the model that a replica serves."""

    task: Task
    name: str
    revision: str
    max_tokens: int
    dimensions: int | None = None
    labels: Mapping[str, int] = field(default_factory=dict)
    precision: str = ""
    prompts: Mapping[str, str] = field(default_factory=dict)
    padded_because: str | None = None
    """Why a GPU computes this model on padded sequences, through transformers; None where they lie end to end."""
    gpu: GpuFacts | None = None
    """How a real GPU computes it; None where no replica on one has been asked."""
    default_prompt_name: str | None = None
    trained_dimensions: tuple[int, ...] = ()
    """Vector sizes below `dimensions` for which the model was trained."""
    pooling: str | None = None
    """How an embedder makes one vector of a window's tokens; None where that is not known."""
    outputs: tuple[Output, ...] = ()
    """What an embedder can make of a text, the most usual first."""
    weights_bytes: int | None = None
    """Size of the weights on disk."""
    cpu_bytes: int | None = None
    """Estimate: weights and the activations of the largest forward in a CPU replica; None where it is not known."""
    gpu_bytes: int | None = None
    """The same of a GPU replica, in GPU memory."""
    licence: str | None = None
    """As the model's card states it; None if it does not."""
    languages: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Health:
    """The state of a replica. It is ready once it has run a real forward on `device`."""

    ready: bool
    device: str
    detail: str
    card: ModelCard | None = None
    pid: int = 0
    rss_bytes: int = 0
    waiting_tokens: int = 0
    """Tokens queued behind the forward that runs now."""
    failing: bool = False
    """Its forwards fail or it has lost its device. False for a lane that starts or is offloaded."""
