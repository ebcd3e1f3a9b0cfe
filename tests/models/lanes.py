"""Opens a checkpoint as it is served, on either of two paths to the same numbers.

- `torch`: what a GPU replica runs, in fp32 on this machine's processor: Trivet's own modules on sequences laid end to
  end, or transformers' on padded ones.
- `cpu`: the CPU lane in fp32, converted in a process of its own.

Both go through the engine, so that what a model's files say of tokens, prompts, limits and pooling counts too.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from trivet.config import AppConfig, Precision, Task
from trivet.engine.backend import OneStep, Pending
from trivet.engine.batch.token_batch import TokenBatch
from trivet.engine.engine import Engine
from trivet.engine.models.load import load_torch_model
from trivet.engine.open import PreparedModel, gpu_program, open_cpu_engine, open_engine, prepare_model
from trivet.errors import ModelError
from trivet.messages import EngineRequest, EngineResult, Floats, TokenizeRequest

Lane = Literal["torch", "cpu"]
LANES: tuple[Lane, ...] = ("torch", "cpu")

_TOKEN_BUDGET = 1024


class TorchBackend:
    """A GPU replica's program as a `Backend`: fp32, on the processor."""

    falls_back = False
    gpu = None
    fault = None
    in_flight = 1
    device = "cpu (torch fp32)"
    token_budget = _TOKEN_BUDGET

    def __init__(self, prepared: PreparedModel) -> None:
        self._program = gpu_program(prepared, torch.float32, torch.device("cpu"))
        self._program.load()
        self.layout = self._program.layout

    @torch.inference_mode()
    def forward(self, batch: TokenBatch) -> Floats:
        inputs = [torch.from_numpy(array) for array in self._program.arrays(batch)]
        outputs: Floats = self._program.forward(inputs, batch.max_len).numpy()
        return outputs.astype(np.float32, copy=False)

    def launch(self, batch: TokenBatch) -> Pending:
        return OneStep(partial(self.forward, batch))

    def release_scratch(self) -> None:
        pass

    def close(self) -> None:
        self._program.unload()


class Served:
    """One engine with a loop of its own; use it as a context."""

    def __init__(self, engine: Engine, loop: asyncio.AbstractEventLoop) -> None:
        self.engine = engine
        self._loop = loop

    def __call__(self, request: EngineRequest) -> EngineResult:
        """Answer one request."""
        return self._loop.run_until_complete(self.engine.run(request))

    def count_tokens(self, text: str) -> int:
        """Tokens of a text, special ones apart."""
        asked = TokenizeRequest((text,), add_special_tokens=False)
        return len(self._loop.run_until_complete(self.engine.tokenize(asked)).tokens[0])

    def __enter__(self) -> Served:
        self._loop.run_until_complete(self._started())
        return self

    def __exit__(self, *_raised: object) -> None:
        self._loop.run_until_complete(self.engine.close())
        self._loop.close()

    async def _started(self) -> None:
        self.engine.start()


@dataclass(frozen=True)
class Settings:
    """What the configuration says besides the folder.

    `pickled` allows weights to be a pickle. `template` is for a reranker whose files have none. `splade` is what a
    masked language model is.
    """

    pickled: bool = False
    template: str | None = None
    splade: bool = False
    precision: Precision = "fp32"


PLAIN = Settings()


def loads(path: Path, task: Task, cache: Path, settings: Settings = PLAIN) -> bool:
    """Whether the loader takes a checkpoint: where a conversion fails although it does, the conversion is at fault."""
    try:
        prepared = prepare_model(_config(path, task, cache, settings), task)
        load_torch_model(prepared.source.path, task, recipe=prepared.files.recipe, for_export=True)
    except ModelError:
        return False
    return True


def serve(lane: Lane, path: Path, task: Task, cache: Path, settings: Settings = PLAIN) -> Served:
    """Open a checkpoint.

    Args:
        lane: which of the two paths.
        path: the checkpoint.
        task: what it is to serve.
        cache: folder of converted models.
        settings: of the configuration.

    Raises:
        ModelError: the project refuses the checkpoint, or its conversion failed.
    """
    engine = open_engine_on(lane, path, task, cache, settings)
    return Served(engine, asyncio.new_event_loop())


def open_engine_on(lane: Lane, path: Path, task: Task, cache: Path, settings: Settings = PLAIN) -> Engine:
    """An engine that has not been started; see `serve`. The torch path is fp32 whatever the precision."""
    config = _config(path, task, cache, settings)
    if lane == "cpu":
        return open_cpu_engine(config, task)
    prepared = prepare_model(config, task)
    return open_engine(config, prepared, TorchBackend(prepared), "fp32")


def _config(path: Path, task: Task, cache: Path, settings: Settings) -> AppConfig:
    further: dict[str, Any] = {} if settings.template is None else {"template": settings.template}
    if settings.splade:
        further["splade"] = True
    return AppConfig.model_validate(
        {
            task: {"model": str(path)} | further,
            "cpu": {"precision": settings.precision, "token_budget": _TOKEN_BUDGET},
            "serving": {"cache_dir": str(cache)},
            "pickled_models": [str(path)] if settings.pickled else [],
        }
    )
