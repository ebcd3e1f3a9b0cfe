"""Weights in as few bytes as training can do with, for a machine that nothing else reaches. Pure numpy.

The base encoder travels in 12 bits a weight, a scale for each row: half a step is a quarter of a per mille of a row's
largest weight, finer than bf16 and about as fine as fp16 for most of them. Rows of the word table whose tokens the data
never shows are left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

_STEPS = 2047
_HIGH, _LOW, _SCALE, _ROWS, _PLAIN = ".high8", ".low4", ".scale", ".rows", ".plain"


def encode_12_bit(weights: Mapping[str, Array], kept_rows: Mapping[str, Array]) -> dict[str, Array]:
    """Encode matrices in 12 bits, vectors as they are; of the matrices in `kept_rows` only these rows."""
    encoded: dict[str, Array] = {}
    for name, weight in weights.items():
        if weight.ndim != 2:
            encoded[name + _PLAIN] = weight.astype(np.float32)
            continue
        rows = kept_rows.get(name, np.arange(len(weight)))
        kept = weight[rows].astype(np.float32)
        scale = np.maximum(np.abs(kept).max(axis=1), 1e-12) / _STEPS  # (rows,)
        steps = (np.rint(kept / scale[:, None]) + _STEPS).astype(np.uint16).ravel()  # 0 .. 4094
        encoded[name + _HIGH] = (steps >> 4).astype(np.uint8)
        low = (steps & 15).astype(np.uint8)
        encoded[name + _LOW] = low[0::2] | (low[1::2] << 4)  # every row has an even number of columns
        encoded[name + _SCALE] = scale.astype(np.float32)
        encoded[name + _ROWS] = np.concatenate([weight.shape, rows]).astype(np.int32)
    return encoded


def decode_12_bit(encoded: Mapping[str, Array]) -> dict[str, Array]:
    """Reverse `encode_12_bit`; rows that were left out are zero."""
    weights: dict[str, Array] = {}
    for key, value in encoded.items():
        name, _, _ = key.rpartition(".")
        if key.endswith(_PLAIN):
            weights[name] = value
        elif key.endswith(_HIGH):
            (height, width), rows = encoded[name + _ROWS][:2], encoded[name + _ROWS][2:]
            low = encoded[name + _LOW]
            steps = value.astype(np.int32) << 4
            steps[0::2] |= low & 15
            steps[1::2] |= low >> 4
            table = np.zeros((height, width), dtype=np.float32)
            table[rows] = (steps.reshape(-1, width) - _STEPS) * encoded[name + _SCALE][:, None]
            weights[name] = table
    return weights


def in_parts(arrays: Mapping[str, Array], limit_bytes: int) -> list[dict[str, Array]]:
    """Divide arrays, in their order, into parts of at most `limit_bytes`; a single larger array gets a part."""
    parts: list[dict[str, Array]] = [{}]
    for name, array in arrays.items():
        if parts[-1] and sum(a.nbytes for a in parts[-1].values()) + array.nbytes > limit_bytes:
            parts.append({})
        parts[-1][name] = array
    return parts
