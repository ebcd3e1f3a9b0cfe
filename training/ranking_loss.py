"""The reranker's loss: is this document relevant (pointwise), and in which order do they come (listwise)."""

from collections.abc import Mapping

import torch
from torch.nn import functional

from training.batches import Batch

SIMILARITY_SCALE = 20.0
"""Cosines times this are logits: what the embedder itself was trained with."""


class RankingLoss:
    """Binary cross-entropy on every pair, plus softmax cross-entropy within each group that has one good document.

    The first term gives the sigmoid its meaning as a probability; the second compares documents of one query with
    each other, which is what a reranker is for. Targets are smoothed because mined negatives are sometimes right.

    Where the teacher was asked, the second term aims at its opinion and the label together: logits of
    `20 * cosine`, plus `label_evidence` for the good document. Few nats of evidence let the teacher be heard (mined
    code); many let the label decide (people's annotations).
    """

    def __init__(
        self,
        *,
        listwise_weight: float = 0.5,
        smoothing: float = 0.05,
        label_evidence: Mapping[str, float] | None = None,
    ) -> None:
        """`label_evidence` is in nats per source; a source that is not named keeps to the label."""
        self._listwise_weight = listwise_weight
        self._smoothing = smoothing
        self._label_evidence = label_evidence or {}

    def __call__(self, logits: torch.Tensor, batch: Batch) -> torch.Tensor:
        scores = logits[:, 0]  # (B,)
        targets = batch.targets * (1 - 2 * self._smoothing) + self._smoothing
        pointwise = functional.binary_cross_entropy_with_logits(scores, targets)
        evidence = torch.tensor([self._label_evidence.get(source, float("nan")) for source in batch.sources])  # (G,)
        return pointwise + self._listwise_weight * listwise(scores, batch, evidence)


def listwise(scores: torch.Tensor, batch: Batch, label_evidence: torch.Tensor | None = None) -> torch.Tensor:
    """Mean over groups, with exactly one good and at least one bad document, of the cross-entropy to the target order.

    Args:
        scores: # (B,)
        batch: its similarities are NaN where no teacher was asked; a group with any such keeps to its label.
        label_evidence: nats by which the label outweighs the teacher; NaN keeps to the label.  # (G,)
    """
    groups = len(batch.sources)
    member = batch.group_ids[None, :] == torch.arange(groups)[:, None]  # (G, B)
    good = member & (batch.targets[None, :] > 0.5)
    usable = (good.sum(dim=1) == 1) & (member.sum(dim=1) > 1)
    if not usable.any():
        return scores.new_zeros(())
    outside = torch.where(member, 0.0, float("-inf"))  # (G, B)
    target = good.float()
    if label_evidence is not None:
        opinion = SIMILARITY_SCALE * batch.similarities + label_evidence[:, None] * good  # (G, B)
        taught = (~opinion.isnan() | ~member).all(dim=1)
        softened = (opinion.nan_to_num() + outside).softmax(dim=1)
        target = torch.where(taught[:, None], softened, target)
    log_softmax = (scores[None, :] + outside).log_softmax(dim=1)
    losses = -(target * torch.where(member, log_softmax, 0.0)).sum(dim=1)  # (G,)
    return losses[usable].mean()
