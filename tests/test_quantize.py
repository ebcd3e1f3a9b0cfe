"""Smaller forms of vectors keep the direction, and have the layout that clients unpack."""

import numpy as np
import pytest

from trivet.errors import InvalidInput
from trivet.quantize import quantize

VECTORS = np.random.default_rng(0).normal(size=(20, 64)).astype(np.float32)


def cosine(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    a, b = a.astype(np.float64), b.astype(np.float64)
    return (a * b).sum(-1) / np.linalg.norm(a, axis=-1) / np.linalg.norm(b, axis=-1)


def test_int8_keeps_the_direction_and_uses_its_whole_range() -> None:
    levels = quantize(VECTORS, "int8")
    assert levels.dtype == np.int8
    assert (np.abs(levels.astype(int)).max(axis=-1) == 127).all()
    assert cosine(levels, VECTORS).min() > 0.999


def test_uint8_is_int8_and_128() -> None:
    assert (quantize(VECTORS, "uint8").astype(int) - 128 == quantize(VECTORS, "int8")).all()


def test_bits_are_the_signs_first_one_highest() -> None:
    vector = np.array([[1, -1, 1, -1, -1, -1, -1, 1]], dtype=np.float32)
    assert quantize(vector, "ubinary").tolist() == [[0b10100001]]
    assert quantize(vector, "binary").tolist() == [[0b10100001 - 128]]


def test_a_zero_vector_stays_finite() -> None:
    assert quantize(np.zeros((1, 8), np.float32), "int8").tolist() == [[0] * 8]


def test_bits_must_fill_bytes() -> None:
    with pytest.raises(InvalidInput, match="multiple of 8, not 12"):
        quantize(np.zeros((1, 12), np.float32), "ubinary")
