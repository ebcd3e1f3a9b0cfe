"""Models that give something else than one vector or score: weights over the vocabulary, numbers of each token."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from typing import Any

import torch
from torch import Tensor, nn

from trivet.checkpoint.architecture import Architecture
from trivet.checkpoint.modules import Splade
from trivet.engine.models.pooling import PooledHead
from trivet.engine.models.spans import BinSpans
from trivet.errors import ModelError

_MOST_LOGITS = 1 << 27
"""Logits that are computed at once: 512 MiB. A vocabulary has ten thousands of entries for each token."""


class TokenModel(nn.Module):
    """An encoder, what is computed of each token, and pooling where the model has it.

    ``forward(input_ids (S, T), attention_mask (S, T)) -> (pooled (S, D), tokens (S, T, K)) fp32``. K numbers of a token
    are its weight, if the model has one, and then its vector. Without pooling, `pooled` is the first token's numbers.
    """

    input_names = ("input_ids", "attention_mask")
    output_names = ("pooled", "tokens")

    def __init__(
        self, encoder: nn.Module, architecture: Architecture, tokens: nn.Module, pooled: PooledHead | None = None
    ) -> None:
        super().__init__()
        self.architecture = architecture
        self.encoder = encoder
        self.tokens = tokens
        self.pooled = pooled

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, Tensor]:
        """See the class."""
        hidden = self.encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state.float()
        tokens: Tensor = self.tokens(hidden)
        if self.pooled is None:
            return tokens[:, 0], tokens
        return self.pooled(hidden.flatten(0, 1), BinSpans.of_padded(attention_mask)), tokens


class M3Tokens(nn.Module):
    """bge-m3's two heads side by side: relu of a weight, and a vector of length 1; ``(S, T, H) -> (S, T, K)``."""

    def __init__(self, weights: nn.Linear | None, vectors: nn.Linear | None) -> None:
        super().__init__()
        self.weights, self.vectors = weights, vectors

    def forward(self, hidden: Tensor) -> Tensor:
        """See the class."""
        parts = []
        if self.weights is not None:
            parts.append(self.weights(hidden).relu())
        if self.vectors is not None:
            parts.append(nn.functional.normalize(self.vectors(hidden), dim=-1))
        return torch.cat(parts, dim=-1)


class SpladeModel(nn.Module):
    """A masked language model: ``forward(input_ids (S, T), attention_mask (S, T)) -> (S, entries) fp32``.

    A weight is the logarithm of 1 plus the positive part of a logit, over all tokens.
    """

    input_names = ("input_ids", "attention_mask")

    def __init__(self, model: nn.Module, architecture: Architecture, splade: Splade, *, for_export: bool) -> None:
        """Take a model of transformers.

        Args:
            model: with its head.
            architecture: of the checkpoint.
            splade: how logits become weights.
            for_export: compute all logits at once, since a traced loop fixes the length.

        Raises:
            ModelError: it is not known where models of this family have their head.
        """
        super().__init__()
        self.architecture = architecture
        self.model = model
        self._splade = splade
        self._for_export = for_export
        self._head = _language_head(model, architecture)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """See the class."""
        base: Any = self.model.base_model
        hidden = base(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state  # (S, T, H)
        if self._for_export:
            return self._weights(hidden, attention_mask)
        step = max(1, _MOST_LOGITS // (hidden.shape[0] * self.architecture.vocab_size))
        parts = zip(torch.split(hidden, step, dim=1), torch.split(attention_mask, step, dim=1), strict=True)
        join = torch.add if self._splade.sums else torch.maximum
        return reduce(join, (self._weights(*part) for part in parts))

    def _weights(self, hidden: Tensor, seen: Tensor) -> Tensor:
        """(S, t, H), (S, t) → (S, entries)."""
        weights = self._head(hidden).float() * seen[:, :, None]
        weights = weights.relu()
        for _ in range(self._splade.logs):
            weights = weights.log1p()
        return weights.sum(dim=1) if self._splade.sums else weights.amax(dim=1)


def _language_head(model: Any, architecture: Architecture) -> Callable[[Tensor], Tensor]:
    """What turns hidden states into logits over the vocabulary."""
    match architecture.model_type:
        case "bert":
            head: Callable[[Tensor], Tensor] = model.cls
        case "roberta" | "xlm-roberta" | "camembert" | "mpnet":
            head = model.lm_head
        case "modernbert":
            head = _chain(model.head, model.decoder)
        case "distilbert":
            parts = (model.vocab_transform, model.activation, model.vocab_layer_norm, model.vocab_projector)
            head = _chain(*parts)
        case other:
            raise ModelError(
                f"{architecture.name}: a SPLADE of model_type {other or '(none)'} is not supported; bert, camembert, "
                "distilbert, modernbert, mpnet, roberta and xlm-roberta are"
            )
    return head


def _chain(*steps: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    def apply(hidden: Tensor) -> Tensor:
        for step in steps:
            hidden = step(hidden)
        return hidden

    return apply
