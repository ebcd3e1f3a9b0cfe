"""The ranking loss, against values worked out by hand."""

import math

import pytest
import torch

from research.reranker.ranking_loss import RankingLoss, Teaching, listwise
from research.training.batches import Batch


def batch(targets: list[float], group_ids: list[int], similarities: list[float] | None = None) -> Batch:
    empty = torch.zeros((len(targets), 1), dtype=torch.int64)
    sources = ("",) * (max(group_ids) + 1)
    taught = torch.tensor(similarities or [math.nan] * len(targets))
    return Batch(empty, empty, empty, torch.tensor(targets), torch.tensor(group_ids), sources, taught)


def test_listwise_is_softmax_cross_entropy_within_each_group() -> None:
    scores = torch.tensor([2.0, 1.0, 0.0, 3.0, 1.0])
    value = listwise(scores, batch([1, 0, 0, 0, 1], [0, 0, 0, 1, 1]))
    first = -math.log(math.exp(2) / (math.exp(2) + math.exp(1) + 1))
    second = -math.log(math.exp(1) / (math.exp(3) + math.exp(1)))
    assert value.item() == pytest.approx((first + second) / 2, rel=1e-5)


def test_groups_without_something_to_compare_do_not_count() -> None:
    scores = torch.tensor([2.0, 1.0, 0.0], requires_grad=True)
    value = listwise(scores, batch([1, 1, 0], [0, 1, 2]))
    assert value.item() == 0.0


def test_the_loss_falls_when_the_good_document_rises() -> None:
    loss = RankingLoss()
    rows = batch([1, 0], [0, 0])
    values = [loss(torch.tensor([[good], [0.0]]), rows).item() for good in (-1.0, 0.0, 1.0, 2.0)]
    assert values == sorted(values, reverse=True)


def test_gradients_are_finite_at_large_scores() -> None:
    logits = torch.tensor([[80.0], [-90.0], [70.0]], requires_grad=True)
    RankingLoss()(logits, batch([0, 1, 0], [0, 0, 0])).backward()
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()


def test_the_teacher_and_the_label_share_the_target() -> None:
    scores = torch.tensor([0.4, -0.3])
    rows = batch([1, 0], [0, 0], [0.50, 0.60])
    value = listwise(scores, rows, torch.tensor([3.0]))
    odds = math.exp(20 * (0.50 - 0.60) + 3.0)  # of the good document, against the bad one
    good, bad = odds / (1 + odds), 1 / (1 + odds)
    log_total = math.log(math.exp(0.4) + math.exp(-0.3))
    assert value.item() == pytest.approx(good * (log_total - 0.4) + bad * (log_total + 0.3), rel=1e-5)


@pytest.mark.parametrize(("similarities", "evidence"), [([math.nan, 0.3], 3.0), ([0.1, 0.9], math.nan)])
def test_without_a_whole_opinion_the_label_decides(similarities: list[float], evidence: float) -> None:
    scores = torch.tensor([0.4, -0.3])
    taught = listwise(scores, batch([1, 0], [0, 0], similarities), torch.tensor([evidence]))
    assert taught.item() == pytest.approx(listwise(scores, batch([1, 0], [0, 0])).item())


def test_gradients_are_finite_where_groups_of_both_kinds_meet() -> None:
    logits = torch.tensor([[80.0], [-90.0], [70.0], [1.0]], requires_grad=True)
    rows = batch([0, 1, 1, 0], [0, 0, 1, 1], [0.2, 0.4, math.nan, math.nan])
    RankingLoss(teaching={"": Teaching(3.0)})(logits, rows).backward()
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()


def test_where_nobody_labelled_the_teacher_alone_gives_the_order() -> None:
    scores = torch.tensor([0.4, -0.3])
    value = listwise(scores, batch([math.nan, math.nan], [0, 0], [0.50, 0.60]), torch.tensor([3.0]))
    odds = math.exp(20 * (0.50 - 0.60))
    first, second = odds / (1 + odds), 1 / (1 + odds)
    log_total = math.log(math.exp(0.4) + math.exp(-0.3))
    assert value.item() == pytest.approx(first * (log_total - 0.4) + second * (log_total + 0.3), rel=1e-5)


def test_without_labels_and_without_a_teacher_nothing_is_learned_of_the_order() -> None:
    rows = batch([math.nan, math.nan], [0, 0], [0.5, math.nan])
    assert listwise(torch.tensor([0.4, -0.3]), rows, torch.tensor([3.0])).item() == 0.0
    labelled = batch([1, 0], [0, 0], [0.5, 0.4])
    both = batch([1, 0, math.nan, math.nan], [0, 0, 1, 1], [0.5, 0.4, 0.5, math.nan])
    alone = listwise(torch.tensor([0.4, -0.3]), labelled, torch.tensor([3.0])).item()
    assert listwise(torch.tensor([0.4, -0.3, 1.0, 2.0]), both, torch.tensor([3.0, 3.0])).item() == pytest.approx(alone)


def test_the_teacher_also_says_how_relevant_one_document_is() -> None:
    loss = RankingLoss(listwise_weight=0.0, teaching={"": Teaching(2.0, pointwise=True)})
    rows = batch([1, 0, math.nan], [0, 0, 1], [0.45, 0.45, 0.60])
    told = [20 * (0.45 - 0.5) + 2.0, 20 * (0.45 - 0.5), 20 * (0.60 - 0.5)]
    scores = [0.7, -0.2, 1.3]
    value = loss(torch.tensor(scores)[:, None], rows).item()
    expected = 0.0
    for nats, score in zip(told, scores, strict=True):
        target = 1 / (1 + math.exp(-nats))
        expected -= target * math.log(1 / (1 + math.exp(-score))) + (1 - target) * math.log(1 / (1 + math.exp(score)))
    assert value == pytest.approx(expected / 3, rel=1e-5)
    at_its_opinion = loss(torch.tensor(told)[:, None], rows).item()
    assert at_its_opinion < loss(torch.tensor(told)[:, None] + 0.5, rows).item()
    assert at_its_opinion < loss(torch.tensor(told)[:, None] - 0.5, rows).item()
