"""Opens a model as the service would, in this process, and asks it; each answer is timed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from trivet.config import AppConfig, Lane
from trivet.engine.engine import Engine
from trivet.engine.open import PreparedModel, open_cpu_backend, open_cuda_backend, open_engine
from trivet.errors import ConfigError, ModelError
from trivet.messages import (
    ClassifyRequest,
    EmbedRequest,
    Floats,
    PairText,
    Request,
    RerankRequest,
    ResultT,
    SparseVector,
)


@dataclass(frozen=True, slots=True)
class Answered:
    """What a model made of texts."""

    numbers: list[Floats]
    """Of each text a vector, or vectors of its tokens; of each query the logits of the texts; of each text the scores
    of the labels."""
    windows: tuple[int, ...]
    """Of each text: more than one is not comparable."""
    seconds: float


class Served:
    """One model on one lane; use it as a context."""

    def __init__(self, config: AppConfig, prepared: PreparedModel, lane: Lane) -> None:
        self._config, self._prepared, self._lane = config, prepared, lane
        self._loop = asyncio.new_event_loop()
        self._engine: Engine | None = None

    def __enter__(self) -> Served:
        """Convert or load the model and warm it up.

        Raises:
            ModelError: it cannot be loaded, or its weights do not fit the GPU.
        """
        if self._lane == "gpu":
            backend, precision = open_cuda_backend(self._config, self._prepared)
            if not backend.reload():
                raise ModelError(f"the weights of {self._prepared.source.name} do not fit the GPU; the log says why")
            engine = open_engine(self._config, self._prepared, backend, precision)
        else:
            engine = open_engine(self._config, self._prepared, *open_cpu_backend(self._config, self._prepared))
        engine.warm_up()
        self._loop.run_until_complete(_started(engine))
        self._engine = engine
        return self

    def __exit__(self, *_raised: object) -> None:
        if self._engine is not None:
            self._loop.run_until_complete(self._engine.close())
        self._loop.close()

    @property
    def engine(self) -> Engine:
        """The engine, once it is open."""
        assert self._engine is not None
        return self._engine

    def _ask(self, request: Request[ResultT]) -> tuple[ResultT, float]:
        began_s = time.perf_counter()
        result = request.checked(self._loop.run_until_complete(self.engine.run(request)))
        return result, time.perf_counter() - began_s

    def vectors(self, texts: Sequence[str]) -> Answered:
        """Embed texts, without a kind."""
        result, seconds = self._ask(EmbedRequest(tuple(texts)))
        return Answered(list(result.vectors), result.usage.windows, seconds)

    def sparse(self, texts: Sequence[str], vocabulary: int) -> Answered:
        """The weights of texts, each over the whole vocabulary."""
        result, seconds = self._ask(EmbedRequest(tuple(texts), output="sparse"))
        return Answered([_spread(one, vocabulary) for one in result.sparse], result.usage.windows, seconds)

    def tokens(self, texts: Sequence[str]) -> Answered:
        """The vectors of the tokens of documents."""
        result, seconds = self._ask(EmbedRequest(tuple(texts), output="tokens", input_type="document"))
        return Answered(list(result.tokens), result.usage.windows, seconds)

    def logits(self, queries: Sequence[str], texts: Sequence[str]) -> Answered:
        """The logits of all texts for each query."""
        rows, windows, seconds = [], np.ones(len(texts), dtype=int), 0.0
        for query in queries:
            result, took_s = self._ask(RerankRequest(query, tuple(texts)))
            rows.append(result.logits)
            windows = np.maximum(windows, result.usage.windows)
            seconds += took_s
        return Answered(rows, tuple(windows.tolist()), seconds)

    def scores(self, texts: Sequence[str], labels: Sequence[str], template: str, *, multi_label: bool) -> Answered:
        """The scores of all labels for each text."""
        hypotheses = {label: template.format(label) for label in labels}
        inputs = tuple(PairText(text) for text in texts)
        result, seconds = self._ask(ClassifyRequest(inputs, hypotheses, multi_label=multi_label))
        return Answered(list(result.scores), result.usage.windows, seconds)


def lane_of(config: AppConfig, asked: Lane | None = None) -> Lane:
    """Return the lane that is asked for, else the one on which the configuration serves on this machine.

    Raises:
        ConfigError: the GPU is asked for, and there is none.
    """
    if asked == "cpu" or (asked is None and config.device not in ("auto", "cuda")):
        return "cpu"
    import torch

    if torch.cuda.is_available():
        return "gpu"
    if asked == "gpu":
        raise ConfigError(f"torch {torch.__version__} finds no GPU here: compare on the CPU, with --lane cpu")
    return "cpu"


async def _started(engine: Engine) -> None:
    engine.start()


def _spread(vector: SparseVector, vocabulary: int) -> Floats:
    whole = np.zeros(vocabulary, np.float32)
    whole[vector.indices] = vector.values
    return whole
