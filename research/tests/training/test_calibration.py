"""Temperature scaling finds the temperature that made the scores wrong."""

import numpy as np
import pytest

from research.training.calibration import fit_temperature


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_a_known_temperature_is_found(temperature: float) -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(scale=2.0, size=20_000)
    targets = (rng.random(20_000) < 1 / (1 + np.exp(-logits))).astype(float)
    assert fit_temperature(logits * temperature, targets) == pytest.approx(temperature, rel=0.05)
