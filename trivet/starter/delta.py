"""Encodes trained weights as a small difference from the base encoder's weights. Pure numpy; no files, no models.

A matrix of shape (rows, columns) that exists in the base is stored as int8 steps with one scale per output row:

    trained ≈ base + scale[:, None] * delta          scale = max(|trained - base|, per row) / 127

so that no entry is off by more than half a step, `scale / 2`. Fine-tuning changes a matrix little, so this is far more
precise than quantising the matrix itself. Differences of vectors (biases, LayerNorms) are stored in fp16, and tensors
that the base lacks (a new head) completely, in fp32. Unchanged tensors are omitted.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

_STEPS = 127
_DELTA, _SCALE, _VECTOR, _WHOLE = ".delta_i8", ".scale_f32", ".delta_f16", ".value_f32"


def encode_delta(base: Mapping[str, Array], trained: Mapping[str, Array]) -> dict[str, Array]:
    """Encode `trained` relative to `base`. Tensor names are those of `trained`, with a suffix for the encoding.

    Raises:
        ValueError: the shape of a tensor differs from the base, or a value is not finite.
    """
    encoded: dict[str, Array] = {}
    for name, tensor in trained.items():
        value = np.asarray(tensor, dtype=np.float32)
        if not np.isfinite(value).all():
            raise ValueError(f"{name} has values that are not finite")
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
    """Reverse `encode_delta`: return the base's tensors in fp32 plus the delta, and the tensors that the base lacks.

    Raises:
        ValueError: the delta changes a tensor that the base lacks, or has an unknown encoding.
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
                raise ValueError(f"the delta has {key}, an encoding that this version does not know")
    return result


def _quantise_rows(difference: Array) -> tuple[Array, Array]:
    """Return int8 steps (rows, columns) and the size of a step per row (rows,)."""
    scale = (np.abs(difference).max(axis=1) / _STEPS).astype(np.float32)
    safe = np.where(scale > 0, scale, 1)  # an unchanged row has a scale of 0, by which we cannot divide
    return np.rint(difference / safe[:, None]).astype(np.int8), scale


def _expect_in_base(name: str, base: Mapping[str, Array], shape: tuple[int, ...]) -> None:
    if name not in base:
        raise ValueError(f"the delta changes {name}, which the base lacks")
    if base[name].shape != shape:
        raise ValueError(f"the delta of {name} has shape {shape}; the base has {base[name].shape}")
