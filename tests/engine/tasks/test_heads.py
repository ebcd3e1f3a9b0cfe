"""Activations and window pooling against their definitions."""

import numpy as np
from scipy.special import expit
from scipy.special import softmax as scipy_softmax

from trivet.engine.tasks.heads import l2_normalize, pool_windows, sigmoid, softmax


def test_sigmoid_and_softmax_agree_with_scipy_and_do_not_overflow() -> None:
    logits = np.array([-1e4, -30.0, -1.0, 0.0, 2.5, 40.0, 1e4], dtype=np.float32)
    with np.errstate(over="raise", invalid="raise"):
        np.testing.assert_allclose(sigmoid(logits), expit(logits.astype(np.float64)), rtol=1e-6, atol=1e-30)
        rows = np.stack([logits, logits[::-1]])
        np.testing.assert_allclose(softmax(rows), scipy_softmax(rows, axis=-1), rtol=1e-5, atol=1e-30)


def test_one_window_is_returned_bit_for_bit() -> None:
    vector = np.array([[0.1, -0.3, 1e-7]], dtype=np.float32)
    assert pool_windows(vector, [12]).tobytes() == vector[0].tobytes()


def test_windows_weigh_by_their_tokens() -> None:
    pooled = pool_windows(np.array([[1.0, 0.0], [0.0, 1.0]], dtype=np.float32), [30, 10])
    np.testing.assert_allclose(pooled, [0.75, 0.25])


def test_normalised_vectors_have_length_one_and_zero_stays_zero() -> None:
    vectors = l2_normalize(np.array([[3.0, 4.0], [0.0, 0.0]], dtype=np.float32))
    np.testing.assert_allclose(vectors, [[0.6, 0.8], [0.0, 0.0]], rtol=1e-6)
