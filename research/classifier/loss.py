"""The classifier's loss: is each hypothesis entailed, and does the true one of a group win."""

from __future__ import annotations

import torch
from torch.nn import functional

from research.training.batches import Batch

ENTAILMENT = 0


def classifier_loss(logits: torch.Tensor, batch: Batch) -> torch.Tensor:
    """Cross entropy of (entailment, not_entailment) per sequence, plus cross entropy within each group of several.

    The second term is the softmax over entailment logits that is served as `confidence`: groups hold exactly one
    entailed hypothesis where they hold more than one. logits: (B, 2) float32.
    """
    targets = batch.targets.long()  # (B,)
    pointwise = functional.cross_entropy(logits, targets)
    entailment = logits[:, ENTAILMENT]  # (B,)
    groups = int(batch.group_ids[-1]) + 1
    sizes = torch.bincount(batch.group_ids, minlength=groups)  # (G,)
    several = sizes > 1
    if not bool(several.any()):
        return pointwise
    # logsumexp within groups, stable by each group's own maximum
    highest = torch.full((groups,), -torch.inf).scatter_reduce(0, batch.group_ids, entailment.detach(), "amax")
    spread = torch.zeros(groups).index_add(0, batch.group_ids, torch.exp(entailment - highest[batch.group_ids]))
    normaliser = highest + torch.log(spread)  # (G,)
    true = torch.zeros(groups).index_add(0, batch.group_ids, torch.where(targets == ENTAILMENT, entailment, 0.0))
    return pointwise + (normaliser - true)[several].mean()
