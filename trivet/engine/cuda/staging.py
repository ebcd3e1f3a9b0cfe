"""Host memory that a GPU copies from and to while the host goes on.

A copy runs beside the host only from pinned pages, and pinning takes milliseconds. A slot is therefore pinned once and
serves one batch after another; it grows where a batch needs more than any before it.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trivet.engine.batch.token_batch import Int32s

_SMALLEST_ITEMS = 4096


class Slot:
    """The inputs and outputs of one batch in flight, on the host."""

    def __init__(self, *, pinned: bool) -> None:
        """Allocate nothing yet.

        Args:
            pinned: whether a GPU copies from and to it.
        """
        self._pinned = pinned
        self._inputs = torch.empty(0, dtype=torch.int32)
        self._outputs = torch.empty(0, dtype=torch.float32)

    def stage(self, arrays: Sequence[Int32s]) -> Tensor:
        """Lay arrays end to end, (items,) int32. The slot's next batch overwrites them."""
        items = sum(array.size for array in arrays)
        if items > len(self._inputs):
            self._inputs = self._grown(items, torch.int32)
        staged = self._inputs[:items]
        into: NDArray[np.int32] = staged.numpy()
        np.concatenate([array.reshape(-1) for array in arrays], out=into)
        return staged

    def receive(self, outputs: Tensor) -> Tensor:
        """Begin to copy a device's outputs, (S, outputs) float32, and return where they will be."""
        if outputs.numel() > len(self._outputs):
            self._outputs = self._grown(outputs.numel(), torch.float32)
        return self._outputs[: outputs.numel()].view(outputs.shape).copy_(outputs, non_blocking=True)

    def _grown(self, items: int, dtype: torch.dtype) -> Tensor:
        size = max(_SMALLEST_ITEMS, 1 << (items - 1).bit_length())
        return torch.empty(size, dtype=dtype, pin_memory=self._pinned)
