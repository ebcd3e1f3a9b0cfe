"""What travels between the HTTP side and a replica: plain, frozen, picklable.

Texts go in; numpy arrays, counts and timings come out. No tensors, no tokens and no HTTP.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from trivet.config import Task

LongInput = Literal["window", "error", "truncate"]
InputType = Literal["query", "document"]
Priority = Literal["interactive", "bulk"]

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class EmbedRequest:
    """Texts to embed. `prompt` overrides the prompt that `input_type` selects from the model's files."""

    texts: tuple[str, ...]
    input_type: InputType | None = None
    prompt_name: str | None = None
    dimensions: int | None = None
    normalize: bool | None = None
    """None: as the model's own files say."""
    long_input: LongInput = "window"
    priority: Priority = "interactive"
    param: str = "input"
    """Name of the field that held the texts, for error messages."""


@dataclass(frozen=True, slots=True)
class RerankRequest:
    """One query against many documents."""

    query: str
    documents: tuple[str, ...]
    long_input: LongInput = "window"
    priority: Priority = "interactive"
    params: tuple[str, str] = ("query", "documents")


@dataclass(frozen=True, slots=True)
class PairText:
    """A premise: one text, or two that are judged as a pair."""

    text: str
    text_pair: str | None = None


@dataclass(frozen=True, slots=True)
class ClassifyRequest:
    """Premises against a set of hypotheses, `label → hypothesis`.

    `no_relation_label` is aggregated over windows by minimum instead of maximum: it holds only where no window
    shows anything else.
    """

    inputs: tuple[PairText, ...]
    hypotheses: Mapping[str, str]
    multi_label: bool = False
    no_relation_label: str | None = None
    long_input: LongInput = "window"
    priority: Priority = "interactive"
    param: str = "input"


@dataclass(frozen=True, slots=True)
class PredictRequest:
    """Texts or pairs for the classes that the classifier was trained on, without labels of the caller's.

    For an NLI model a pair is premise and hypothesis, and the classes are entailment and what is not.
    """

    inputs: tuple[PairText, ...]
    long_input: LongInput = "window"
    priority: Priority = "interactive"
    param: str = "inputs"


@dataclass(frozen=True, slots=True)
class TokenizeRequest:
    """Texts to be shown as the tokens that one of the models reads."""

    texts: tuple[str, ...]
    task: Task = "embedder"
    """Whose tokenizer."""
    add_special_tokens: bool = True


@dataclass(frozen=True, slots=True)
class StageTimings:
    """Seconds that a request spent in each stage of a replica."""

    tokenize_s: float = 0.0
    queue_s: float = 0.0
    forward_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Usage:
    """What the model really read, per input in request order."""

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
class EmbedResult:
    """`vectors` is (inputs, dimensions) float32."""

    vectors: Floats
    usage: Usage
    timings: StageTimings
    device: str


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
    """`scores` is (inputs, labels) float32 in the order of the request's hypotheses."""

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
class ModelCard:
    """What a replica knows of the model it serves."""

    task: Task
    name: str
    revision: str
    max_tokens: int
    dimensions: int | None = None
    labels: Mapping[str, int] = field(default_factory=dict)
    precision: str = ""
    prompts: Mapping[str, str] = field(default_factory=dict)
    pooling: str | None = None
    """How an embedder makes one vector of a window's tokens, where known."""


@dataclass(frozen=True, slots=True)
class Health:
    """A replica's answer to "are you ready": it has run a real forward on `device`."""

    ready: bool
    device: str
    detail: str
    card: ModelCard | None = None
    pid: int = 0
    rss_bytes: int = 0
    waiting_tokens: int = 0
    """Tokens queued behind the forward that runs now."""
    failing: bool = False
    """Its forwards fail, or its device is lost to it: not a lane that starts, or that gave the card back."""


EngineRequest = EmbedRequest | RerankRequest | ClassifyRequest | PredictRequest
EngineResult = EmbedResult | RerankResult | ClassifyResult | PredictResult
