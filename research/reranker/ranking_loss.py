"""The reranker's loss: is this document relevant (pointwise), and in which order do they come (listwise)."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch.nn import functional

from research.training.batches import Batch

SIMILARITY_SCALE = 20.0
"""Cosines times this are logits: what the embedder itself was trained with."""
SIMILARITY_MIDPOINT = 0.5
"""The cosine at which the teacher, asked about one document alone, is of two minds."""


@dataclass(frozen=True, slots=True)
class Teaching:
    """How much a source's labels and the embedder's opinion count."""

    label_evidence: float
    """Nats by which a label outweighs the embedder's opinion of the order."""
    pointwise: bool = False
    """Whether the opinion is also what is learned of each document by itself. Otherwise its label is."""


NO_TEACHER = Teaching(label_evidence=float("nan"))


class RankingLoss:
    """Binary cross-entropy on every pair, plus softmax cross-entropy within each group that can be ordered.

    The first term gives the sigmoid its meaning as a probability; the second compares documents of one query with
    each other, which is what a reranker is for. Labels are smoothed because mined negatives are sometimes right.

    Where the teacher was asked, its opinion and the label make one target: logits of `20 * cosine`, plus
    `label_evidence` for the good document. With little evidence the teacher has more weight (mined code), with much the
    label has (human annotations). Without a label the teacher's opinion is the only target.
    """

    def __init__(
        self,
        *,
        listwise_weight: float = 0.5,
        smoothing: float = 0.05,
        teaching: Mapping[str, Teaching] | None = None,
    ) -> None:
        """`teaching` is by source; a source that is not named keeps to its labels."""
        self._listwise_weight = listwise_weight
        self._smoothing = smoothing
        self._teaching = teaching or {}

    def __call__(self, logits: torch.Tensor, batch: Batch) -> torch.Tensor:
        scores = logits[:, 0]  # (B,)
        teaching = [self._teaching.get(source, NO_TEACHER) for source in batch.sources]
        evidence = torch.tensor([one.label_evidence for one in teaching])  # (G,)
        targets = batch.targets * (1 - 2 * self._smoothing) + self._smoothing  # (B,)
        taught = torch.tensor([one.pointwise for one in teaching])[batch.group_ids]  # (B,)
        if taught.any():
            alone = (opinion(batch, evidence) - SIMILARITY_SCALE * SIMILARITY_MIDPOINT).sigmoid()
            targets = torch.where(taught, alone, targets)
        pointwise = functional.binary_cross_entropy_with_logits(scores, targets)
        return pointwise + self._listwise_weight * listwise(scores, batch, evidence)


def opinion(batch: Batch, label_evidence: torch.Tensor) -> torch.Tensor:
    """What teacher and label say together, in nats; NaN where no teacher was asked.

    `label_evidence` is in nats per group.  # (G,) -> (B,)
    """
    return SIMILARITY_SCALE * batch.similarities + label_evidence[batch.group_ids] * (batch.targets > 0.5)


def listwise(scores: torch.Tensor, batch: Batch, label_evidence: torch.Tensor | None = None) -> torch.Tensor:
    """Mean, over groups of several documents, of the cross-entropy to the target order.

    A group counts that has exactly one good document, or no labels and the teacher's opinion of all its documents.

    Args:
        scores: # (B,)
        batch: its similarities are NaN where no teacher was asked; a group with any such keeps to its label.
        label_evidence: nats by which the label outweighs the teacher; NaN keeps to the label.  # (G,)
    """
    groups = len(batch.sources)
    if label_evidence is None:
        label_evidence = torch.full((groups,), float("nan"))
    member = batch.group_ids[None, :] == torch.arange(groups)[:, None]  # (G, B)
    outside = torch.where(member, 0.0, float("-inf"))  # (G, B)
    good = member & (batch.targets[None, :] > 0.5)
    opinions = opinion(batch, label_evidence)[None, :]  # (1, B)
    taught = (~opinions.isnan() | ~member).all(dim=1)  # (G,)
    unlabelled = (batch.targets.isnan()[None, :] | ~member).all(dim=1)
    usable = ((good.sum(dim=1) == 1) | (unlabelled & taught)) & (member.sum(dim=1) > 1)
    if not usable.any():
        return scores.new_zeros(())
    target = torch.where(taught[:, None], (opinions.nan_to_num() + outside).softmax(dim=1), good.float())
    log_softmax = (scores[None, :] + outside).log_softmax(dim=1)
    losses = -(target * torch.where(member, log_softmax, 0.0)).sum(dim=1)  # (G,)
    return losses[usable].mean()
