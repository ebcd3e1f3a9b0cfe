"""Layers behind the pooling take the tensors that their configuration states, and no others."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from trivet.checkpoint.files import CheckpointMismatch
from trivet.checkpoint.m3 import M3Heads
from trivet.checkpoint.modules import Dense, LayerNorm
from trivet.engine.models.load import _m3_tokens
from trivet.engine.models.steps import build_steps

TANH = "torch.nn.modules.activation.Tanh"


def dense(folder: Path, *, has_bias: bool = False, has_residual: bool = False) -> Dense:
    return Dense(folder, 4, 2, has_bias=has_bias, activation=TANH, has_residual=has_residual)


@pytest.mark.parametrize(
    ("tensors", "step", "named"),
    [
        ({"linear.weight": (2, 3)}, {}, "linear.weight is 2 × 3; its configuration says 2 × 4"),
        (
            {"linear.weight": (2, 4), "linear.bias": (2,)},
            {},
            "there is a linear.bias, but config.json says bias: false",
        ),
        ({"linear.weight": (2, 4)}, {"has_bias": True}, "has no linear.bias"),
        ({"linear.weight": (2, 4), "linear.bias": (3,)}, {"has_bias": True}, "linear.bias is 3; its configuration"),
        (
            {"linear.weight": (2, 4), "residual.weight": (4, 2)},
            {"has_residual": True},
            "residual.weight is 4 × 2; its configuration says 2 × 4",
        ),
    ],
)
def test_a_dense_layer(tmp_path: Path, tensors: dict[str, tuple[int, ...]], step: dict[str, bool], named: str) -> None:
    save_file({name: torch.ones(shape) for name, shape in tensors.items()}, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointMismatch, match=named):
        build_steps([dense(tmp_path, **step)])


def test_a_layer_norm(tmp_path: Path) -> None:
    save_file({"norm.weight": torch.ones(3), "norm.bias": torch.ones(4)}, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointMismatch, match=r"norm\.weight is 3; its configuration says 4"):
        build_steps([LayerNorm(tmp_path, 4)])


@pytest.mark.parametrize(
    ("weight", "bias", "named"),
    [((1, 3), (1,), "weight is 1 × 3, it must be 1 × 4"), ((2, 4), (2,), "weight is 2 × 4"), ((1, 4), (2,), "bias")],
)
def test_the_sparse_head_of_bge_m3(tmp_path: Path, weight: tuple[int, ...], bias: tuple[int, ...], named: str) -> None:
    file = tmp_path / "sparse_linear.safetensors"
    save_file({"weight": torch.ones(weight), "bias": torch.ones(bias)}, file)
    with pytest.raises(CheckpointMismatch, match=named):
        _m3_tokens(M3Heads(file, None), 4)
