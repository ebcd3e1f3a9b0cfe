"""Trained weights as a small difference from the base encoder's. Pure numpy; no files, no models.

A matrix of shape (rows, columns) that exists in the base is kept as int8 steps with one scale per output row:

    trained ≈ base + scale[:, None] * delta          scale = max(|trained - base|, per row) / 127

so that no entry is off by more than half a step, `scale / 2`. A fine-tuned matrix moves little from where it began,
which makes this far finer than quantising the matrix itself. Vectors (biases, LayerNorms) keep their difference
in fp16; tensors that the base lacks (a new head) are kept whole in fp32; tensors that did not move are left out.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

_STEPS = 127
_DELTA, _SCALE, _VECTOR, _WHOLE = ".delta_i8", ".scale_f32", ".delta_f16", ".value_f32"


def encode_delta(base: Mapping[str, Array], trained: Mapping[str, Array]) -> dict[str, Array]:
    """Express `trained` relative to `base`. Tensor names are those of `trained`, with a suffix per kind.

    Raises:
        ValueError: a tensor changed its shape, or holds values that are not finite.
    """
    encoded: dict[str, Array] = {}
    for name, tensor in trained.items():
        value = np.asarray(tensor, dtype=np.float32)
        if not np.isfinite(value).all():
            raise ValueError(f"{name} holds values that are not finite")
        if name not in base:
            encoded[name + _WHOLE] = value
            continue
        if base[name].shape != value.shape:
            raise ValueError(f"{name} has shape {value.shape}; the base has {base[name].shape}")
        difference = value - base[name].astype(np.float32)
        if not difference.any():
            continue
        if value.ndim == 2:
            encoded[name + _DELTA], encoded[name + _SCALE] = _quantise_rows(difference)
        else:
            encoded[name + _VECTOR] = difference.astype(np.float16)
    return encoded


def apply_delta(base: Mapping[str, Array], encoded: Mapping[str, Array]) -> dict[str, Array]:
    """Undo `encode_delta`: the base's tensors in fp32, moved by the delta, and those the base lacks.

    Raises:
        ValueError: the delta names a tensor that the base lacks, or is of an unknown kind.
    """
    result = {name: tensor.astype(np.float32) for name, tensor in base.items()}
    for key, tensor in encoded.items():
        name, dot, kind = key.rpartition(".")
        match dot + kind:
            case ".delta_i8":
                scale = encoded[name + _SCALE]  # (rows,)
                _expect_in_base(name, result, tensor.shape)
                result[name] += scale[:, None] * tensor.astype(np.float32)
            case ".delta_f16":
                _expect_in_base(name, result, tensor.shape)
                result[name] += tensor.astype(np.float32)
            case ".value_f32":
                result[name] = tensor
            case ".scale_f32":
                pass  # read together with its delta
            case _:
                raise ValueError(f"the delta holds {key}, of a kind this version does not know")
    return result


def _quantise_rows(difference: Array) -> tuple[Array, Array]:
    """int8 steps (rows, columns) and their size per row (rows,)."""
    scale = (np.abs(difference).max(axis=1) / _STEPS).astype(np.float32)
    safe = np.where(scale > 0, scale, 1)  # a row that did not move has no steps to count
    return np.rint(difference / safe[:, None]).astype(np.int8), scale


def _expect_in_base(name: str, base: Mapping[str, Array], shape: tuple[int, ...]) -> None:
    if name not in base:
        raise ValueError(f"the delta moves {name}, which the base lacks")
    if base[name].shape != shape:
        raise ValueError(f"the delta of {name} has shape {shape}; the base has {base[name].shape}")
