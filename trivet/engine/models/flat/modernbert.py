"""ModernBERT on tokens laid end to end: pre-norm, GeGLU, rotary positions, local attention in most layers.

After Warner et al., "Smarter, Better, Faster, Longer", 2024.
"""

from __future__ import annotations

from torch import Tensor, nn

from trivet.checkpoint.flat.feed_forward import FeedForwardConfig
from trivet.checkpoint.flat.modernbert import ModernBertConfig
from trivet.checkpoint.flat.rotary import RotaryConfig
from trivet.engine.models.flat.attention import Attend, Reach
from trivet.engine.models.flat.layers import Angles, GatedFeedForward, Projections, Rotary, add_product


class ModernBertEncoder(nn.Module):
    """``forward(ids (N,), token_types, positions (N,), attend) -> (N, H)`` in the weights' dtype.

    ``positions`` count from 0 within each sequence; token types are ignored, the model has none.
    """

    def __init__(self, config: ModernBertConfig) -> None:
        super().__init__()
        self.words = nn.Embedding(config.vocab_size, config.hidden_size)
        self.norm = _norm(config)
        self.global_rotary = Rotary(config.max_tokens, config.head_size, RotaryConfig(config.global_base))
        self.local_rotary = Rotary(config.max_tokens, config.head_size, RotaryConfig(config.local_base))
        self.layers = nn.ModuleList(_Layer(config, index) for index in range(config.layers))
        self.final_norm = _norm(config)

    def forward(self, ids: Tensor, token_types: Tensor | None, positions: Tensor, attend: Attend) -> Tensor:
        """Hidden states of the last layer, normed; see the class for shapes."""
        x = self.norm(self.words(ids))  # (N, H)
        global_angles, local_angles = (rotary(positions, x.dtype) for rotary in (self.global_rotary, self.local_rotary))
        for layer in self.layers:
            x = layer(x, local_angles if layer.is_local else global_angles, attend)
        out: Tensor = self.final_norm(x)
        return out


class _Layer(nn.Module):
    """Pre-norm: ``x = x + attention(norm(x)); x = x + feed_forward(norm(x))``."""

    def __init__(self, config: ModernBertConfig, index: int) -> None:
        super().__init__()
        self.is_local = config.local_layers[index]
        self.reach = Reach(config.reach_tokens, config.reach_tokens) if self.is_local else Reach()
        # The first layer reads embeddings that are normed already.
        self.attention_norm = _norm(config) if index else nn.Identity()
        self.projections = Projections(config.hidden_size, config.heads, bias=config.attention_bias)
        self.mix_heads = nn.Linear(config.hidden_size, config.hidden_size, bias=config.attention_bias)
        self.feed_forward_norm = _norm(config)
        block = FeedForwardConfig(config.activation, gated=True, inner_bias=config.mlp_bias, outer_bias=config.mlp_bias)
        self.feed_forward = GatedFeedForward(config.hidden_size, config.inner_size, block)

    def forward(self, x: Tensor, angles: Angles, attend: Attend) -> Tensor:
        x = add_product(x, self._attention(self.attention_norm(x), angles, attend), self.mix_heads)
        return add_product(x, self.feed_forward.gated(self.feed_forward_norm(x)), self.feed_forward.outer)

    def _attention(self, x: Tensor, angles: Angles, attend: Attend) -> Tensor:
        """(N, H) → (N, H), the heads side by side. Separate, so that nothing else of it is in memory afterwards."""
        query, key, value = self.projections(x, angles)  # each (N, h, D)
        return attend(query, key, value, self.reach).flatten(1)


def _norm(config: ModernBertConfig) -> nn.LayerNorm:
    return nn.LayerNorm(config.hidden_size, eps=config.norm_eps, bias=config.norm_bias)


def modernbert_tensors(config: ModernBertConfig) -> dict[str, tuple[str, ...]]:
    """Module of ours → the published module whose tensors it has."""
    sources = {
        "encoder.words": "embeddings.tok_embeddings",
        "encoder.norm": "embeddings.norm",
        "encoder.final_norm": "final_norm",
    }
    for index in range(config.layers):
        ours, theirs = f"encoder.layers.{index}", f"layers.{index}"
        sources |= {
            f"{ours}.attention_norm": f"{theirs}.attn_norm",
            f"{ours}.projections.joint": f"{theirs}.attn.Wqkv",
            f"{ours}.mix_heads": f"{theirs}.attn.Wo",
            f"{ours}.feed_forward_norm": f"{theirs}.mlp_norm",
            f"{ours}.feed_forward.joint": f"{theirs}.mlp.Wi",
            f"{ours}.feed_forward.outer": f"{theirs}.mlp.Wo",
        }
    return {ours: (theirs,) for ours, theirs in sources.items()}
