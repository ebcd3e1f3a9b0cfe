"""Temperature scaling: one number that turns a trained model's scores into probabilities."""

import numpy as np
from scipy.optimize import minimize_scalar


def fit_temperature(logits: np.ndarray, targets: np.ndarray) -> float:
    """The T that minimises the log loss of sigmoid(logits / T) against 0/1 `targets`.  # both (N,)"""

    def log_loss(log_temperature: float) -> float:
        signed = np.where(targets > 0.5, -logits, logits) / np.exp(log_temperature)
        return float(np.logaddexp(0.0, signed.astype(np.float64)).mean())

    return float(np.exp(minimize_scalar(log_loss, bounds=(-3.0, 3.0), method="bounded").x))
