"""A model's weights as three flat parameters: one cast, one gradient and one optimiser step for all of them.

A six-layer encoder has a hundred small tensors. Cast, clipped and stepped one by one, they keep a GPU waiting for its
host.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from research.training.plain_encoder import FROZEN

_MATRICES, _VECTORS, _HEAD = "matrices", "vectors", "head"
HEAD_LR_FACTOR = 5.0
"""A head that starts at random may learn faster than the encoder."""


class FlatWeights:
    """Trained weights in fp32, flat; frozen ones beside them."""

    def __init__(self, weights: Mapping[str, Tensor], device: torch.device) -> None:
        self.frozen = {name: value.to(device) for name, value in weights.items() if name in FROZEN}
        trained = {name: value for name, value in weights.items() if name not in FROZEN}
        self._shapes: dict[str, dict[str, torch.Size]] = {_MATRICES: {}, _VECTORS: {}, _HEAD: {}}
        for name, value in sorted(trained.items()):
            self._shapes[_group_of(name, value)][name] = value.shape
        self.flat = {
            group: torch.cat([trained[name].float().flatten() for name in shapes]).to(device).requires_grad_()
            for group, shapes in self._shapes.items()
        }

    def unpacked(self, dtype: torch.dtype) -> dict[str, Tensor]:
        """All weights by name: matrices in `dtype`, vectors, head and tables in fp32; gradients reach the flat ones."""
        views = dict(self.frozen)
        for group, shapes in self._shapes.items():
            flat = self.flat[group].to(dtype) if group == _MATRICES else self.flat[group]
            parts = flat.split([shape.numel() for shape in shapes.values()])
            views |= {name: part.view(shape) for (name, shape), part in zip(shapes.items(), parts, strict=True)}
        return views

    def trained(self) -> dict[str, Tensor]:
        """A copy of the trained weights in fp32, by name."""
        views = self.unpacked(torch.float32)
        return {name: views[name].detach().clone() for shapes in self._shapes.values() for name in shapes}

    def optimizer(self, lr: float, weight_decay: float, *, fresh_head: bool) -> torch.optim.AdamW:
        """AdamW over the three, with weight decay on matrices and the head, a faster head if it starts at random."""
        head_lr = lr * (HEAD_LR_FACTOR if fresh_head else 1.0)
        groups = [
            {"params": [self.flat[_MATRICES]], "weight_decay": weight_decay, "lr": lr},
            {"params": [self.flat[_VECTORS]], "weight_decay": 0.0, "lr": lr},
            {"params": [self.flat[_HEAD]], "weight_decay": weight_decay, "lr": head_lr},
        ]
        return torch.optim.AdamW(groups, betas=(0.9, 0.98), eps=1e-6, fused=True)


def _group_of(name: str, value: Tensor) -> str:
    if name.startswith("classifier."):
        return _HEAD
    return _MATRICES if value.ndim > 1 else _VECTORS
