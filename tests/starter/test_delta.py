"""The delta reproduces trained weights within half a quantisation step, and refuses weights that it cannot encode."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trivet.starter.delta import apply_delta, encode_delta


def tensors(seed: int, *, rows: int = 5, columns: int = 7) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Make a base, and the same weights after some training."""
    rng = np.random.default_rng(seed)
    base = {
        "matrix": rng.normal(size=(rows, columns)).astype(np.float32),
        "bias": rng.normal(size=rows).astype(np.float32),
        "untouched": rng.normal(size=(3, 4)).astype(np.float32),
    }
    trained = {name: value.copy() for name, value in base.items()}
    trained["matrix"] += rng.normal(scale=0.05, size=(rows, columns)).astype(np.float32)
    trained["bias"] += rng.normal(scale=0.01, size=rows).astype(np.float32)
    trained["head"] = rng.normal(size=(1, columns)).astype(np.float32)
    return base, trained


@given(seed=st.integers(0, 2**32 - 1), rows=st.integers(1, 20), columns=st.integers(1, 40))
@settings(max_examples=60, deadline=None)
def test_no_entry_is_off_by_more_than_half_a_step(seed: int, rows: int, columns: int) -> None:
    base, trained = tensors(seed, rows=rows, columns=columns)
    encoded = encode_delta(base, trained)
    restored = apply_delta(base, encoded)

    assert restored.keys() == trained.keys()
    half_step = encoded["matrix.scale_f32"] / 2
    error = np.abs(restored["matrix"] - trained["matrix"])
    assert (error <= half_step[:, None] + 1e-6).all()
    np.testing.assert_allclose(restored["bias"], trained["bias"], atol=5e-5)
    np.testing.assert_array_equal(restored["head"], trained["head"])
    np.testing.assert_array_equal(restored["untouched"], base["untouched"])


def test_unchanged_tensors_are_omitted() -> None:
    base, trained = tensors(1)
    assert not any(key.startswith("untouched") for key in encode_delta(base, trained))
    assert encode_delta(base, base) == {}


def test_an_unchanged_row_is_exact() -> None:
    base, trained = tensors(2)
    trained["matrix"][3] = base["matrix"][3]
    restored = apply_delta(base, encode_delta(base, trained))
    np.testing.assert_array_equal(restored["matrix"][3], base["matrix"][3])


def test_applying_does_not_modify_the_base() -> None:
    base, trained = tensors(3)
    before = base["matrix"].copy()
    apply_delta(base, encode_delta(base, trained))
    np.testing.assert_array_equal(base["matrix"], before)


def test_weights_that_are_not_finite_are_refused() -> None:
    base, trained = tensors(4)
    trained["bias"][0] = np.nan
    with pytest.raises(ValueError, match="bias"):
        encode_delta(base, trained)


def test_a_changed_shape_is_refused() -> None:
    base, trained = tensors(5)
    trained["bias"] = trained["bias"][:-1]
    with pytest.raises(ValueError, match="shape"):
        encode_delta(base, trained)


def test_a_delta_of_a_tensor_that_the_base_lacks_is_refused() -> None:
    base, trained = tensors(6)
    encoded = encode_delta(base, trained)
    del base["matrix"]
    with pytest.raises(ValueError, match="matrix"):
        apply_delta(base, encoded)


def test_a_delta_of_another_shape_is_refused_rather_than_broadcast() -> None:
    base, trained = tensors(8)
    encoded = encode_delta(base, trained)
    encoded["bias.delta_f16"] = encoded["bias.delta_f16"][:1]
    with pytest.raises(ValueError, match="shape"):
        apply_delta(base, encoded)


def test_an_unknown_kind_is_refused() -> None:
    base, _ = tensors(7)
    with pytest.raises(ValueError, match="does not know"):
        apply_delta(base, {"matrix.delta_i4": np.zeros((5, 7), dtype=np.int8)})
