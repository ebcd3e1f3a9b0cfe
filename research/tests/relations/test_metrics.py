import numpy as np
import pytest

from research.relations.evaluate import as_text, report
from research.relations.metrics import (
    confusion,
    expected_calibration_error,
    f1_scores,
    fit_temperature,
    softmax,
    threshold_for_precision,
)
from research.relations.pairs import LABELS, Pair


def test_f1_of_a_known_table():
    table = confusion(np.array([0, 0, 1, 1]), np.array([0, 1, 1, 1]), 3)
    assert table.tolist() == [[1, 1, 0], [0, 2, 0], [0, 0, 0]]
    assert f1_scores(table) == pytest.approx([2 / 3, 0.8, 0.0])


def test_a_model_that_is_as_sure_as_it_is_right_has_no_calibration_error():
    probabilities = np.array([[0.75, 0.25]] * 4)
    assert expected_calibration_error(probabilities, np.array([0, 0, 0, 1])) == pytest.approx(0.0)
    assert expected_calibration_error(probabilities, np.array([1, 1, 1, 1])) == pytest.approx(0.75)


def test_temperature_undoes_a_scaling():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(4000, 4))
    gold = np.array([rng.choice(4, p=p) for p in softmax(logits)])
    assert fit_temperature(logits * 3, gold) == pytest.approx(3.0, rel=0.1)


def test_threshold_is_the_lowest_that_keeps_the_precision():
    probabilities = np.array([[0.9, 0.1], [0.8, 0.2], [0.605, 0.395], [0.55, 0.45]])
    gold = np.array([0, 0, 1, 1])
    assert 0.605 < threshold_for_precision(probabilities, gold, 0.99) <= 0.8
    assert threshold_for_precision(probabilities, 1 - gold, 0.99) == 1.0


def test_a_perfect_answer_is_reported_as_such():
    pairs = [Pair(label, "kind", f"{label} one", f"{label} two", "here", "MIT") for label in LABELS]
    result = report(pairs, np.eye(4) * 9)
    assert result["macro_f1"] == 1.0
    assert result["confusion"]["dependency"]["dependency"] == 1
    assert "macro-F1 1.000" in as_text(result)
