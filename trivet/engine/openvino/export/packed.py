"""Computes several sequences side by side in one row, with attention inside each sequence only.

Besides its tokens, a forward costs as much as 20 to 150 further tokens: weights are read from memory, and kernels are
compiled for a new shape. Sequences that wait together seldom have one length. So they are laid end to end in rows of
one width, called *bins*, instead of being padded: only the last few places of a bin are wasted, and few shapes occur.
A mask confines attention to each sequence, positions start from 0 in each, and the head or the pooling reads the tokens
of each sequence afterwards.

After Krell et al., "Efficient Sequence Packing without Cross-contamination", 2021.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from trivet.engine.batch.layout import WIDEST
from trivet.engine.models.flat.padded import PaddedEncoder
from trivet.engine.models.load import PooledModel, SequenceClassifier
from trivet.engine.models.spans import BinSpans

_MOST_POSITIONS = 1024
"""The mask has a row and a column for every place of a bin, so models that read 8,192 tokens are not packed."""
_MODEL_TYPES = frozenset({"bert", "electra", "roberta", "xlm-roberta"})
"""Families whose modules in transformers accept masks and positions from outside."""


class PackedModel(nn.Module):
    """Computes S sequences that lie in B bins of width W; all inputs are int64.

    - ``input_ids`` (B, W).
    - ``positions`` (B, W) count from 0 within each sequence.
    - ``sequence_ids`` (B, W) say which sequence each token belongs to; S marks the unused places of a bin.
    - ``first_token_indices`` (S,) are the places of the sequences' first tokens in the flattened (B·W) bins.
    - ``token_type_ids`` (B, W), where the model takes them.

    The result equals that of the model for the same sequences padded: (S, D) or (S, labels) fp32.
    """

    def __init__(self, model: PooledModel | SequenceClassifier) -> None:
        super().__init__()
        self.model = model
        types = ("token_type_ids",) if "token_type_ids" in model.input_names else ()
        self.input_names = ("input_ids", "positions", "sequence_ids", "first_token_indices", *types)
        self._encoder: Any = model.encoder if isinstance(model, PooledModel) else model.model.base_model
        self._first_position = model.architecture.first_position

    def forward(
        self,
        input_ids: Tensor,
        positions: Tensor,
        sequence_ids: Tensor,
        first_token_indices: Tensor,
        token_type_ids: Tensor | None = None,
    ) -> Tensor:
        """See the class."""
        attn_mask = sequence_ids[:, None, :, None] == sequence_ids[:, None, None, :]  # (B, 1, W, W)
        if isinstance(self._encoder, PaddedEncoder):
            hidden = self._encoder(input_ids, attn_mask)  # (B, W, H)
        else:
            types = {} if token_type_ids is None else {"token_type_ids": token_type_ids}
            hidden = self._encoder(
                input_ids=input_ids,
                attention_mask=attn_mask,
                position_ids=self._position_ids(input_ids, positions),
                **types,
            ).last_hidden_state
        tokens = hidden.flatten(0, 1)  # (B·W, H)
        if isinstance(self.model, PooledModel):
            pooled: Tensor = self.model.head(tokens, BinSpans(sequence_ids, positions, first_token_indices))
            return pooled
        return _logits(self.model.model, tokens[first_token_indices][:, None]).float()

    def _position_ids(self, ids: Tensor, positions: Tensor) -> Tensor:
        """Rows of the table of positions, (B, W), as transformers computes them for each sequence alone.

        Where they begin behind the padding id, tokens that have it are not counted: a text can name the padding token.
        """
        if not self._first_position:
            return positions
        padding_id = self._first_position - 1
        counts = (ids != padding_id).long()  # (B, W)
        counted = counts.cumsum(1)  # (B, W), over the sequences of a bin
        first = torch.arange(ids.shape[1], device=ids.device) - positions  # (B, W), where each token's sequence begins
        before = (counted - counts).gather(1, first)  # (B, W), counted tokens of the sequences before
        return (counted - before) * counts + padding_id


def can_be_packed(model: PooledModel | SequenceClassifier) -> bool:
    """Whether the model takes masks and positions from outside."""
    architecture = model.architecture
    positions = architecture.max_tokens or 0
    if isinstance(model, PooledModel) and isinstance(model.encoder, PaddedEncoder):
        return positions >= WIDEST  # its positions count from the bin's beginning
    known = architecture.model_type in _MODEL_TYPES and not architecture.is_decoder
    return known and architecture.has_absolute_positions and positions <= _MOST_POSITIONS


def _logits(model: Any, first_tokens: Tensor) -> Tensor:
    """The head of a sequence classifier on (S, 1, H) → (S, labels)."""
    pooler = getattr(model.base_model, "pooler", None)
    logits: Tensor = model.classifier(first_tokens if pooler is None else pooler(first_tokens))
    return logits
