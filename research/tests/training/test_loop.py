"""The loop learns, keeps its best weights, and continues after an interruption as if there had been none."""

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import BertConfig, BertForSequenceClassification

from research.training.batches import Batch, Group, PairSequence, collate
from research.training.first_token import first_token_logits
from research.training.loop import LoopResult, LoopSettings, fit, forward, rate_factor
from research.training.scoring import score

SETTINGS = LoopSettings(token_budget=128, peak_lr=5e-3, epochs=2.5, evaluations=3)


class Interrupted(Exception):
    pass


def tiny_model(layers: int = 1) -> BertForSequenceClassification:
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=50,
        hidden_size=16,
        num_hidden_layers=layers,
        num_attention_heads=2,
        intermediate_size=32,
        num_labels=1,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    return BertForSequenceClassification(config)


def groups() -> list[Group]:
    """Sequences of low token ids to be told from sequences of high ones."""
    rng = np.random.default_rng(0)
    found = []
    for target in (0.0, 1.0) * 80:
        low = 10 if target else 30
        ids = rng.integers(low, low + 20, size=rng.integers(6, 12)).astype(np.int32)
        found.append(Group((PairSequence(ids, 3, target),)))
    return found


def loss(logits: torch.Tensor, batch: Batch) -> torch.Tensor:
    return torch.nn.functional.binary_cross_entropy_with_logits(logits[:, 0], batch.targets)


class Evaluation:
    """Returns the given values in turn; raises when one of them is an exception."""

    def __init__(self, *values: float | Exception) -> None:
        self._values = list(values)

    def __call__(self, model: BertForSequenceClassification) -> dict[str, float]:
        value = self._values.pop(0)
        if isinstance(value, Exception):
            raise value
        return {"score": value}


def run(model: BertForSequenceClassification, run_dir: Path, *values: float | Exception) -> LoopResult:
    return fit(
        model, groups(), loss=loss, evaluate=Evaluation(*values), metric="score", settings=SETTINGS, run_dir=run_dir
    )


def test_it_learns(tmp_path: Path) -> None:
    model = tiny_model()
    run(model, tmp_path, 0.1, 0.2, 0.3)
    last = (tmp_path / "log.jsonl").read_text().splitlines()[-1]
    assert '"score": 0.3' in last
    sequences = groups()
    logits = score(model, [g.sequences[0] for g in sequences])[:, 0]
    targets = np.array([g.sequences[0].target for g in sequences])
    assert ((logits > 0) == (targets > 0.5)).mean() > 0.9


def test_parts_of_like_length_give_the_logits_of_the_whole() -> None:
    model = tiny_model().eval()
    batch = collate(groups()[:9])
    whole = model(**batch.model_inputs()).logits
    torch.testing.assert_close(forward(model, batch), whole, rtol=1e-4, atol=1e-5)


def test_the_best_weights_are_kept_not_the_last(tmp_path: Path) -> None:
    model = tiny_model()
    result = run(model, tmp_path, 0.1, 0.9, 0.3)
    assert result.best_metrics == {"score": 0.9}
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter, result.best_state[name], rtol=0, atol=0)


def test_an_interrupted_run_ends_where_an_uninterrupted_one_does(tmp_path: Path) -> None:
    whole = run(tiny_model(), tmp_path / "whole", 0.1, 0.2, 0.3)

    with pytest.raises(Interrupted):
        run(tiny_model(), tmp_path / "parts", 0.1, Interrupted())
    continued = run(tiny_model(), tmp_path / "parts", 0.2, 0.3)

    assert continued.steps == whole.steps
    assert continued.best_metrics == whole.best_metrics
    for name, expected in whole.best_state.items():
        torch.testing.assert_close(continued.best_state[name], expected, rtol=1e-4, atol=1e-5)


def test_a_checkpoint_of_other_settings_is_refused(tmp_path: Path) -> None:
    run(tiny_model(), tmp_path, 0.1, 0.2, 0.3)
    other = LoopSettings(token_budget=64)
    with pytest.raises(SystemExit, match="other settings"):
        fit(tiny_model(), groups(), loss=loss, evaluate=Evaluation(), metric="score", settings=other, run_dir=tmp_path)


def test_reading_the_first_token_alone_changes_no_logit_and_no_gradient() -> None:
    model = tiny_model(layers=3)
    batch = collate(groups()[:7])
    whole = model(**batch.model_inputs()).logits
    whole.square().sum().backward()
    expected = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()

    logits = first_token_logits(model, **batch.model_inputs())
    logits.square().sum().backward()

    torch.testing.assert_close(logits, whole, rtol=1e-5, atol=1e-6)
    assert expected
    for name, parameter in model.named_parameters():
        if name in expected:
            torch.testing.assert_close(parameter.grad, expected[name], rtol=1e-4, atol=1e-6)


def test_the_rate_rises_stays_and_falls() -> None:
    settings = LoopSettings(warmup=0.1, decay=0.4)
    rates = [rate_factor(step, 100, settings) for step in range(101)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[9:61] == [1.0] * 52
    assert rates[80] == pytest.approx(0.5)
    assert rates[100] == 0.0
