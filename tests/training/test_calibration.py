"""Temperature scaling finds the temperature that made the scores wrong."""

import numpy as np
import pytest

from training.calibration import expected_calibration_error, fit_temperature


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_a_known_temperature_is_found(temperature: float) -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(scale=2.0, size=20_000)
    targets = (rng.random(20_000) < 1 / (1 + np.exp(-logits))).astype(float)
    assert fit_temperature(logits * temperature, targets) == pytest.approx(temperature, rel=0.05)


def test_calibration_error() -> None:
    probabilities = np.full(100, 0.75)
    targets = np.r_[np.ones(75), np.zeros(25)]
    assert expected_calibration_error(probabilities, targets) == pytest.approx(0.0)
    assert expected_calibration_error(probabilities, np.zeros(100)) == pytest.approx(0.75)
    assert expected_calibration_error(np.array([1.0, 0.0]), np.array([1.0, 0.0])) == 0.0
