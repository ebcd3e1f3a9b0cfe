"""Several sequences side by side in one row, each seeing itself alone.

What a forward costs besides its tokens (weights read from memory, kernels made for a new shape) is worth 20 to 150
tokens, and sequences that wait together seldom have one length. So they are laid end to end into rows of one width,
*bins*, instead of padded: nothing but a bin's last few positions is computed in vain, and few shapes are ever met.
Attention is kept within each sequence by a mask, positions begin anew with each, and what the head or the pooling
reads is gathered by sequence afterwards.

After Krell et al., "Efficient Sequence Packing without Cross-contamination", 2021.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from trivet.engine.models.load import Embedder, SequenceClassifier
from trivet.engine.models.nomic_moe import NomicMoeModel
from trivet.engine.models.pooling import Pooling

_MOST_POSITIONS = 1024
"""The mask has a row and a column for every position of a bin: a model that reads 8,192 tokens is not packed."""
_POSITIONS_FROM_ZERO = frozenset({"bert", "electra"})
_POSITIONS_AFTER_PADDING = frozenset({"roberta", "xlm-roberta"})
"""Their first token has the position after the padding id."""


class PackedModel(nn.Module):
    """``forward(input_ids (B, N), positions (B, N), sequences (B, N), members (R, L)[, token_type_ids (B, N)])``.

    R sequences of at most L tokens in B bins of width N, all int64. ``positions`` counts from 0 within each sequence;
    ``sequences`` tells the sequences of a bin apart (what fills a bin up counts as one more). ``members`` holds the
    place of each sequence's tokens in the flattened (B·N) bins, -1 behind its last. The result is what the model gives
    for the same sequences padded: (R, D) or (R, labels) fp32.
    """

    def __init__(self, model: Embedder | SequenceClassifier) -> None:
        super().__init__()
        self.model = model
        types = ("token_type_ids",) if "token_type_ids" in model.input_names else ()
        self.input_names = ("input_ids", "positions", "sequences", "members", *types)
        self._encoder: Any = model.encoder if isinstance(model, Embedder) else model.model.base_model
        self._first_position = _first_position(self._encoder)

    def forward(
        self,
        input_ids: Tensor,
        positions: Tensor,
        sequences: Tensor,
        members: Tensor,
        token_type_ids: Tensor | None = None,
    ) -> Tensor:
        """See the class."""
        allowed = sequences[:, None, :, None] == sequences[:, None, None, :]  # (B, 1, N, N)
        if isinstance(self._encoder, NomicMoeModel):
            hidden = self._encoder(input_ids, allowed, positions)  # (B, N, H)
        else:
            types = {} if token_type_ids is None else {"token_type_ids": token_type_ids}
            hidden = self._encoder(
                input_ids=input_ids,
                attention_mask=allowed,
                position_ids=positions + self._first_position,
                **types,
            ).last_hidden_state
        places = members if isinstance(self.model, Embedder) else members[:, :1]
        by_sequence = hidden.flatten(0, 1)[places.clamp(min=0)]  # (R, L or 1, H)
        if isinstance(self.model, Embedder):
            pooling: Pooling = self.model.pooling
            pooled: Tensor = pooling(by_sequence, (members >= 0).long())
            return pooled
        return _logits(self.model.model, by_sequence).float()


def can_be_packed(model: Embedder | SequenceClassifier) -> bool:
    """Whether the model's positions and masks can be given from outside, and its head reads first tokens alone."""
    encoder: Any = model.encoder if isinstance(model, Embedder) else model.model.base_model
    if isinstance(encoder, NomicMoeModel):
        return True
    kind = encoder.config.model_type
    absolute = getattr(encoder.config, "position_embedding_type", "absolute") == "absolute"
    known = kind in _POSITIONS_FROM_ZERO | _POSITIONS_AFTER_PADDING and not encoder.config.is_decoder
    return known and absolute and encoder.config.max_position_embeddings <= _MOST_POSITIONS


def _first_position(encoder: Any) -> int:
    if isinstance(encoder, NomicMoeModel) or encoder.config.model_type in _POSITIONS_FROM_ZERO:
        return 0
    return int(encoder.config.pad_token_id) + 1


def _logits(model: Any, first_tokens: Tensor) -> Tensor:
    """The head of a sequence classifier on (R, 1, H) → (R, labels)."""
    pooler = getattr(model.base_model, "pooler", None)
    logits: Tensor = model.classifier(first_tokens if pooler is None else pooler(first_tokens))
    return logits
