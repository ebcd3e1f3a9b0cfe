"""The forward pass of a BERT classifier without the unused part of its last layer.

The head looks at the first token alone. In the last layer the other positions matter as keys and values only, so their
queries, attention outputs and feed-forward blocks need not be computed: a seventh of a six-layer model's work, forward
and backward, with the same logits.
"""

import torch
from transformers import BertForSequenceClassification


def first_token_logits(
    model: BertForSequenceClassification,
    input_ids: torch.Tensor,
    attention_mask: torch.Tensor,
    token_type_ids: torch.Tensor,
) -> torch.Tensor:
    """What `model(...).logits` gives, computed with less.  # inputs (B, T) int64 -> (B, num_labels)"""
    bert = model.bert
    hidden = bert.embeddings(input_ids=input_ids, token_type_ids=token_type_ids)  # (B, T, D)
    visible = attention_mask[:, None, None, :].bool()  # (B, 1, 1, T)
    bias = torch.zeros_like(visible, dtype=hidden.dtype).masked_fill(~visible, torch.finfo(hidden.dtype).min)
    *lower, last = bert.encoder.layer
    for layer in lower:
        hidden = layer(hidden, attention_mask=bias)
    first = hidden[:, :1]  # (B, 1, D)
    heads = last.attention.self
    query, key, value = (
        projection(states).unflatten(-1, (heads.num_attention_heads, heads.attention_head_size)).transpose(1, 2)
        for projection, states in ((heads.query, first), (heads.key, hidden), (heads.value, hidden))
    )  # (B, H, 1 or T, D / H)
    weights = (query @ key.transpose(-1, -2) * heads.scaling + bias).softmax(dim=-1)  # (B, H, 1, T)
    context = heads.dropout(weights).to(value.dtype) @ value  # (B, H, 1, D / H)
    attended = last.attention.output(context.transpose(1, 2).flatten(-2), first)
    pooled = bert.pooler(last.feed_forward_chunk(attended))  # (B, D)
    return model.classifier(model.dropout(pooled))
