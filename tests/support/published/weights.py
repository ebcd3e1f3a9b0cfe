"""Seeded random tensors under published names."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

MIXING = 0.6
"""Gain of most matrices. The standard deviation of a matrix is its gain / sqrt(inputs)."""
ATTENTION = 1.4
"""Gain of queries and keys: attention that is visibly peaked, so that a wrong mask or angle shows."""
HEAD = 1.5
"""Gain of a classification head: logits that differ by more than rounding."""


class Weights:
    """The tensors of one checkpoint: drawn in the order of the calls, written to safetensors or a pickle."""

    def __init__(self, seed: int, prefix: str = "") -> None:
        self._random = np.random.Generator(np.random.PCG64(seed))
        self.prefix = prefix
        self.tensors: dict[str, torch.Tensor] = {}

    def another_file(self) -> Weights:
        """Empty, and drawing on: for a module that keeps its tensors in a file of its own."""
        other = Weights(0)
        other._random = self._random
        return other

    def _put(self, key: str, shape: tuple[int, ...], scale: float, around: float = 0.0) -> None:
        values = around + scale * self._random.standard_normal(shape, dtype=np.float32)
        self.tensors[self.prefix + key] = torch.from_numpy(values.astype(np.float32))

    def embedding(self, key: str, rows: int, width: int, scale: float = 0.3) -> None:
        """A table of vectors, `key.weight` (rows, width)."""
        self._put(f"{key}.weight", (rows, width), scale)

    def matrix(self, key: str, outputs: int, inputs: int, gain: float = MIXING) -> None:
        """A matrix (outputs, inputs) under exactly this key."""
        self._put(key, (outputs, inputs), gain / inputs**0.5)

    def linear(self, key: str, outputs: int, inputs: int, *, bias: bool = True, gain: float = MIXING) -> None:
        """`key.weight` (outputs, inputs) and `key.bias`."""
        self.matrix(f"{key}.weight", outputs, inputs, gain)
        if bias:
            self.vector(f"{key}.bias", outputs)

    def vector(self, key: str, size: int) -> None:
        """A small vector under exactly this key."""
        self._put(key, (size,), 0.05)

    def norm(self, key: str, size: int, *, bias: bool = True, around: float = 1.0) -> None:
        """Scale (and shift) of a norm. Gemma's scales are kept around 0: it adds 1 itself."""
        self._put(f"{key}.weight", (size,), 0.1, around)
        if bias:
            self.vector(f"{key}.bias", size)

    def ids(self, key: str, count: int) -> None:
        """`position_ids` (1, count), which older checkpoints store."""
        self.tensors[self.prefix + key] = torch.arange(count)[None]

    def save(self, folder: Path, dtype: torch.dtype = torch.float32, file: str = "model.safetensors") -> None:
        """Write safetensors; floating-point tensors in the dtype in which the model is published."""
        folder.mkdir(parents=True, exist_ok=True)
        save_file(self._as(dtype), folder / file, metadata={"format": "pt"})

    def save_pickle(self, file: Path, dtype: torch.dtype = torch.float32) -> None:
        """Write torch's pickle, the form of models that have no safetensors."""
        torch.save(self._as(dtype), file)

    def _as(self, dtype: torch.dtype) -> dict[str, torch.Tensor]:
        return {
            key: (tensor.to(dtype) if tensor.is_floating_point() else tensor).contiguous()
            for key, tensor in self.tensors.items()
        }
