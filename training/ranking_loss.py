"""The reranker's loss: is this document relevant (pointwise), and is the right one ahead (listwise)."""

import torch
from torch.nn import functional

from training.batches import Batch


class RankingLoss:
    """Binary cross-entropy on every pair, plus softmax cross-entropy within each group that has one good document.

    The first term gives the sigmoid its meaning as a probability; the second compares documents of one query with
    each other, which is what a reranker is for. Targets are smoothed because mined negatives are sometimes right.
    """

    def __init__(self, *, listwise_weight: float = 0.5, smoothing: float = 0.05) -> None:
        self._listwise_weight = listwise_weight
        self._smoothing = smoothing

    def __call__(self, logits: torch.Tensor, batch: Batch) -> torch.Tensor:
        scores = logits[:, 0]  # (B,)
        targets = batch.targets * (1 - 2 * self._smoothing) + self._smoothing
        pointwise = functional.binary_cross_entropy_with_logits(scores, targets)
        return pointwise + self._listwise_weight * listwise(scores, batch)


def listwise(scores: torch.Tensor, batch: Batch) -> torch.Tensor:
    """Mean over groups with exactly one good and at least one bad document of -log softmax at the good one."""
    groups = len(batch.sources)
    one_hot = batch.group_ids[None, :] == torch.arange(groups)[:, None]  # (G, B)
    good = one_hot & (batch.targets[None, :] > 0.5)
    usable = (good.sum(dim=1) == 1) & (one_hot.sum(dim=1) > 1)
    if not usable.any():
        return scores.new_zeros(())
    log_total = torch.where(one_hot, scores[None, :], float("-inf")).logsumexp(dim=1)  # (G,)
    good_score = torch.where(good, scores[None, :], 0.0).sum(dim=1)
    return (log_total - good_score)[usable].mean()
