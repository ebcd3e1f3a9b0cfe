"""What runs on the device: a model's weights, how a batch becomes its inputs, and its forward.

There are two. A flat program computes on sequences laid end to end, with modules of our own; it reads its weights from
the files straight to the device and keeps none on the host. A padded program runs every other architecture through
transformers, on sequences padded to the longest.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, Protocol, cast

import numpy as np
import torch
from torch import Tensor, nn

from trivet.config import Task
from trivet.engine.batch.layout import FLAT, PADDED, Layout
from trivet.engine.batch.token_batch import Int32s, TokenBatch
from trivet.engine.models.flat.layers import Fp32Linear
from trivet.engine.models.flat.load import FlatCheckpoint, FlatModel
from trivet.engine.models.last_layer import replace_last_layer
from trivet.engine.models.load import SequenceClassifier

UNLIMITED_TOKENS: Final = 1 << 30
PADDED_GRAPH_TOKENS: Final = 256
"""Largest graph of a model whose attention is padded. A graph has places for many sequences as long as itself, whatever
is in it: beyond this, attention to empty places takes longer than the launches that a graph saves."""


class Program(Protocol):
    """A model for one device. Its weights are absent until `load`."""

    layout: Layout
    """What a forward over sequences of different lengths costs."""
    weights_bytes: int
    """What the weights take on the device."""
    max_tokens: int
    """Tokens of the longest sequence that the model has positions for."""

    attention_padded_because: str | None
    """Why attention alone is padded; None where it is not, or where all is."""

    @property
    def graph_tokens(self) -> int:
        """Most tokens of a forward that a CUDA graph can hold; 0 where none can. Known once it is loaded."""

    def load(self) -> None:
        """Put the weights on the device. Where they do not fit, torch's error passes through; `unload` must follow."""

    def unload(self) -> None:
        """Take the weights off the device."""

    def arrays(self, batch: TokenBatch) -> tuple[Int32s, ...]:
        """Return the inputs of a forward, in the order in which it takes them.

        A batch with `per_token` has one more than others: (N,), the place of each token in the padded form.
        """

    def forward(self, inputs: Sequence[Tensor], max_len: int) -> Tensor:
        """Compute a batch: (S, outputs) fp32, or with the places of tokens (N, numbers).

        Args:
            inputs: `arrays` on the device, each with its shape, int32.
            max_len: tokens of the longest sequence, or any larger number up to `max_tokens`.
        """


class FlatProgram:
    """A model of `trivet.engine.models.flat`, on sequences laid end to end."""

    def __init__(
        self, path: Path, task: Task, dtype: torch.dtype, device: torch.device, recipe: str | None = None
    ) -> None:
        """Read the checkpoint's description, as `FlatCheckpoint` does, with its errors."""
        self._checkpoint = FlatCheckpoint(path, task, dtype, device, recipe=recipe)
        self._model: FlatModel | None = None
        self.weights_bytes = self._checkpoint.weights_bytes
        self.max_tokens = self._checkpoint.max_tokens
        # Padded attention takes sequences × longest, so that a batch of mixed lengths costs more than its tokens.
        self.attention_padded_because = self._checkpoint.attention_padded_because
        self.layout: Layout = FLAT if self.attention_padded_because is None else PADDED

    @property
    def graph_tokens(self) -> int:
        """See `Program`."""
        if self._model is None:
            return 0
        most = UNLIMITED_TOKENS if self.attention_padded_because is None else PADDED_GRAPH_TOKENS
        return most if self._model.capturable_tokens is None else min(most, self._model.capturable_tokens)

    def load(self) -> None:
        """See `Program`."""
        self._model = self._checkpoint.load()

    def unload(self) -> None:
        """See `Program`."""
        self._model = None

    def arrays(self, batch: TokenBatch) -> tuple[Int32s, ...]:
        """See `Program`: ids, token types and positions, each (N,), and boundaries (S + 1,)."""
        return batch.ids, batch.token_types, batch.positions, batch.cu_seqlens

    def forward(self, inputs: Sequence[Tensor], max_len: int) -> Tensor:
        """See `Program`."""
        assert self._model is not None
        ids, token_types, positions, cu_seqlens = inputs
        outputs: Tensor = self._model(ids, token_types, positions, cu_seqlens, max_len)
        return outputs


class NamedInputs(Protocol):
    """A module that states which arrays of a padded batch it takes; see `trivet.engine.models.load`."""

    input_names: tuple[str, ...]


class PaddedProgram:
    """Any torch module on padded sequences. Its weights stay on the host while they are off the device."""

    layout: Layout = PADDED
    attention_padded_because: str | None = None
    graph_tokens = 0
    max_tokens = UNLIMITED_TOKENS
    """The module itself refuses what it has no positions for."""

    def __init__(self, load: Callable[[], nn.Module], device: torch.device) -> None:
        """Load the module on the host; a classifier's logits are computed in fp32.

        Args:
            load: builds it there, in the dtype that it computes in.
            device: where its forwards run.
        """
        self._device = device
        self._module = load().eval()
        if isinstance(self._module, SequenceClassifier):
            replace_last_layer(self._module, Fp32Linear.of)
        self._input_names = cast("NamedInputs", self._module).input_names
        self.weights_bytes = sum(tensor.nbytes for tensor in (*self._module.parameters(), *self._module.buffers()))

    def load(self) -> None:
        """See `Program`."""
        self._module.to(self._device)

    def unload(self) -> None:
        """See `Program`."""
        self._module.to("cpu")

    def arrays(self, batch: TokenBatch) -> tuple[Int32s, ...]:
        """See `Program`: what the module takes of the padded batch, each (S, longest)."""
        padded = batch.padded()
        inputs = tuple(padded[name].astype("int32") for name in self._input_names)
        return (*inputs, np.flatnonzero(batch.is_token).astype("int32")) if batch.per_token else inputs

    def forward(self, inputs: Sequence[Tensor], max_len: int) -> Tensor:
        """See `Program`."""
        named = zip(self._input_names, (given.long() for given in inputs), strict=False)
        found = self._module(**dict(named))
        pooled, *tokens = found if isinstance(found, tuple) else (found,)
        if len(inputs) > len(self._input_names):
            [of_tokens] = tokens  # (S, longest, numbers)
            return cast("Tensor", of_tokens.flatten(0, 1).index_select(0, inputs[-1]).float())
        return cast("Tensor", pooled.float())
