"""Run a trained cross-encoder over many pairs, longest first, in batches of a token budget."""

import numpy as np
import torch
from transformers import BertForSequenceClassification

from research.training.batches import Group, PairSequence, collate
from research.training.first_token import first_token_logits


def score(
    model: BertForSequenceClassification,
    sequences: list[PairSequence],
    *,
    token_budget: int = 4096,
    bf16: bool = True,
) -> np.ndarray:
    """Logits of every sequence, in the given order.  # (N, num_labels) float32"""
    model.eval()
    order = sorted(range(len(sequences)), key=lambda i: -len(sequences[i].ids))
    logits = np.zeros((len(sequences), model.config.num_labels), dtype=np.float32)
    start = 0
    while start < len(order):
        rows = max(1, token_budget // len(sequences[order[start]].ids))
        chosen = order[start : start + rows]
        batch = collate([Group((sequences[i],)) for i in chosen])
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            out = first_token_logits(model, **batch.model_inputs())
        logits[chosen] = out.float().numpy()
        start += rows
    return logits
