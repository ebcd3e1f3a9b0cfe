"""nomic-embed on tokens laid end to end: v1.5 (SwiGLU) and v2, whose odd layers have experts.

A post-norm encoder with rotary positions. In v2 each token takes the best two of eight experts, by a softmax over all
of them that is not renormalised; one bias is shared by all and added once. Fields of config.json that would mean
another formula are refused: see `trivet.checkpoint.flat_encoders`, `trivet.checkpoint.nomic`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional
from typing_extensions import override

from trivet.checkpoint.flat_encoders import NomicConfig
from trivet.checkpoint.nomic import NomicMoeConfig
from trivet.engine.models.flat.attention import Attend
from trivet.engine.models.flat.layers import Angles, FeedForward, Fp32Linear, GatedFeedForward, Projections, Rotary

ALL_EXPERTS_UP_TO_TOKENS = 512
"""Where tokens cannot be sent to their experts without asking the device for their numbers, batches up to here go
through every expert: reading the weights is what costs then, and they are all read anyway."""

MixExperts = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor], Tensor]
"""``mix(tokens (N, H), weights (N, k) fp32, chosen (N, k), w1 (E, F, H), w2 (E, F, H)) -> (N, H)``."""


class NomicEncoder(nn.Module):
    """``forward(ids (N,), token_types (N,) | None, positions (N,), attend) -> (N, H)`` in the weights' dtype.

    ``positions`` count from 0 within each sequence. Token types are ignored by a model that has one.
    """

    def __init__(self, config: NomicConfig) -> None:
        super().__init__()
        # No padding_idx: the row of <pad> is trained and not zero.
        self.words = nn.Embedding(config.vocab_size, config.hidden_size)
        self.types = nn.Embedding(config.token_types, config.hidden_size)
        self.norm = nn.LayerNorm(config.hidden_size, eps=config.norm_eps)
        self.rotary = Rotary(config.max_tokens, config.hidden_size // config.heads, config.rotary_base)
        self.layers = nn.ModuleList(_Layer(config, index) for index in range(config.layers))

    def forward(self, ids: Tensor, token_types: Tensor | None, positions: Tensor, attend: Attend) -> Tensor:
        """Hidden states of the last layer; see the class for shapes."""
        has_choice = token_types is not None and self.types.num_embeddings > 1
        x: Tensor = self.norm(
            self.words(ids) + (self.types(token_types) if has_choice else self.types.weight[0])
        )  # (N, H)
        angles = self.rotary(positions, x.dtype)
        for layer in self.layers:
            x = layer(x, angles, attend)
        return x


class _Layer(nn.Module):
    """Post-norm: ``x = norm(x + attention(x)); x = norm(x + feed_forward(x))``."""

    def __init__(self, config: NomicConfig, index: int) -> None:
        super().__init__()
        size = config.hidden_size
        self.projections = Projections(size, config.heads, bias=config.attention_bias)
        self.mix_heads = nn.Linear(size, size, bias=config.attention_bias)
        self.attention_norm = nn.LayerNorm(size, eps=config.norm_eps)
        self.feed_forward: nn.Module
        if config.moe is not None and config.moe.is_moe_layer(index):
            self.feed_forward = Experts(config.moe)
        elif config.gated:
            self.feed_forward = GatedFeedForward(size, config.inner_size, "silu", bias=config.mlp_bias)
        else:
            self.feed_forward = FeedForward(size, config.inner_size, "gelu")
        self.output_norm = nn.LayerNorm(size, eps=config.norm_eps)

    def forward(self, x: Tensor, angles: Angles, attend: Attend) -> Tensor:
        x = self.attention_norm(x + self._attention(x, angles, attend))
        out: Tensor = self.output_norm(x + self.feed_forward(x))
        return out

    def _attention(self, x: Tensor, angles: Angles, attend: Attend) -> Tensor:
        """(N, H) → (N, H). Separate, so that nothing of it is in memory beside the feed-forward block."""
        query, key, value = self.projections(x, angles)  # each (N, h, D)
        mixed: Tensor = self.mix_heads(attend(query, key, value, None).flatten(1))
        return mixed


class Experts(nn.Module):
    """``gelu(x @ w1[e].T) @ w2[e]`` for each token's experts, weighed by the router, plus one bias for all.

    How tokens meet their experts depends on where the weights are: it is chosen each time they are moved.
    """

    def __init__(self, config: NomicMoeConfig) -> None:
        super().__init__()
        self.shape = (config.experts, config.inner_size, config.hidden_size)
        self.experts_per_token = config.experts_per_token
        # In fp32 whatever the weights' dtype: rounding here would send tokens to other experts.
        self.router = Fp32Linear(config.hidden_size, config.experts, bias=False)
        rows = config.experts * config.inner_size
        self.w1 = nn.Parameter(torch.empty(rows, config.hidden_size))  # (E·F, H), expert axis outer
        self.w2 = nn.Parameter(torch.empty(rows, config.hidden_size))  # (E·F, H)
        self.bias = nn.Parameter(torch.empty(config.hidden_size))  # (H,)
        self.mix: MixExperts = mix_one_by_one

    def forward(self, x: Tensor) -> Tensor:
        """(N, H) → (N, H)."""
        # Over all experts; the top k are not renormalised.
        weights, chosen = self.router(x).softmax(dim=-1).topk(self.experts_per_token, dim=-1)  # (N, k), (N, k)
        return self.mix(x, weights, chosen, self.w1.view(self.shape), self.w2.view(self.shape)) + self.bias

    @override
    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Move or convert the weights: torch calls this for each of its methods that does."""
        moved: Self = super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self.mix = mix_for(self.w1.device, self.w1.dtype)
        return moved


def mix_for(device: torch.device, dtype: torch.dtype) -> MixExperts:
    """Return the way that suits the weights' device and dtype."""
    if device.type != "cuda":
        return mix_one_by_one
    return mix_grouped if groups_without_waiting(torch.cuda.get_device_capability(device), dtype) else mix_by_size


def groups_without_waiting(capability: tuple[int, int], dtype: torch.dtype) -> bool:
    """Whether torch's grouped product runs as one kernel; elsewhere it copies the groups' sizes to the host first."""
    return capability[0] in (9, 10) and dtype == torch.bfloat16


def mix_one_by_one(tokens: Tensor, weights: Tensor, chosen: Tensor, w1: Tensor, w2: Tensor) -> Tensor:
    """A loop over the experts, each gathering its tokens. For the CPU; exports to OpenVINO, which runs it sparse."""
    out = torch.zeros_like(tokens)  # (N, H)
    for expert in range(w1.shape[0]):
        rows, slots = torch.where(chosen == expert)  # (n,), (n,)
        answer = functional.gelu(tokens[rows] @ w1[expert].T) @ w2[expert]  # (n, H)
        share = weights[rows, slots, None].to(tokens.dtype)  # (n, 1)
        out = out.index_add(0, rows, answer * share)
    return out


def mix_grouped(tokens: Tensor, weights: Tensor, chosen: Tensor, w1: Tensor, w2: Tensor) -> Tensor:
    """Two grouped matrix products over tokens sorted by expert; sizes stay on the device."""
    per_token = chosen.shape[1]
    experts = chosen.flatten()  # (N·k,)
    order = experts.argsort(stable=True)  # (N·k,)
    counts = torch.zeros(w1.shape[0], dtype=torch.int32, device=tokens.device)
    counts.index_add_(0, experts, torch.ones_like(experts, dtype=torch.int32))
    ends = counts.cumsum(0, dtype=torch.int32)  # (E,)
    rows = order // per_token  # (N·k,)
    inner = functional.gelu(functional.grouped_mm(tokens[rows], w1.transpose(1, 2), offs=ends))  # (N·k, F)
    answers = functional.grouped_mm(inner, w2, offs=ends)  # (N·k, H)
    unsorted = torch.empty_like(answers).index_copy_(0, order, answers)  # (N·k, H)
    return (unsorted.view(-1, per_token, tokens.shape[1]) * weights.to(tokens.dtype)[..., None]).sum(1)  # (N, H)


def mix_all(tokens: Tensor, weights: Tensor, chosen: Tensor, w1: Tensor, w2: Tensor) -> Tensor:
    """Every token through every expert; those it did not choose count nothing."""
    shares = torch.zeros(tokens.shape[0], w1.shape[0], device=tokens.device).scatter_(1, chosen, weights)  # (N, E)
    inner = functional.gelu(torch.matmul(tokens, w1.transpose(1, 2)))  # (E, N, F)
    answers = torch.matmul(inner, w2)  # (E, N, H)
    return (answers * shares.T.to(tokens.dtype)[..., None]).sum(0)  # (N, H)


def mix_by_size(tokens: Tensor, weights: Tensor, chosen: Tensor, w1: Tensor, w2: Tensor) -> Tensor:
    """For GPUs whose grouped product waits for the device: small batches, which are captured as graphs, avoid it."""
    mix = mix_all if tokens.shape[0] <= ALL_EXPERTS_UP_TO_TOKENS else mix_grouped
    return mix(tokens, weights, chosen, w1, w2)


def nomic_tensors(config: NomicConfig, names: Collection[str]) -> dict[str, tuple[str, ...]]:
    """Module of ours → the published modules whose tensors, one below the other, are its own.

    Files of a dense model have the names that nomic published, or those of transformers 5: ``names`` decides which.
    """
    native = config.moe is None and any(name.startswith("layers.") for name in names)
    sources: dict[str, tuple[str, ...]] = {
        "encoder.words": ("embeddings.word_embeddings",),
        "encoder.types": ("embeddings.token_type_embeddings",),
        "encoder.norm": ("embeddings.LayerNorm" if native else "emb_ln",),
    }
    for index in range(config.layers):
        of_layer = _native_layer(f"layers.{index}") if native else _published_layer(f"encoder.layers.{index}", config)
        sources |= {f"encoder.layers.{index}.{ours}": theirs for ours, theirs in of_layer.items()}
    return sources


def _published_layer(layer: str, config: NomicConfig) -> dict[str, tuple[str, ...]]:
    feed_forward: dict[str, tuple[str, ...]] = (
        {"joint": ("fc12", "fc11"), "outer": ("fc2",)} if config.gated else {"inner": ("fc1",), "outer": ("fc2",)}
    )
    experts = {
        "router": "router.layer",
        "w1": "experts.mlp.w1",
        "w2": "experts.mlp.w2",
        "bias": "experts.bias",
    }
    return {
        "projections.joint": (f"{layer}.attn.Wqkv",),
        "mix_heads": (f"{layer}.attn.out_proj",),
        "attention_norm": (f"{layer}.norm1",),
        "output_norm": (f"{layer}.norm2",),
        **{
            f"feed_forward.{ours}": tuple(f"{layer}.mlp.{name}" for name in names)
            for ours, names in feed_forward.items()
        },
        **{f"feed_forward.{ours}": (f"{layer}.mlp.{name}",) for ours, name in experts.items()},
    }


def _native_layer(layer: str) -> dict[str, tuple[str, ...]]:
    return {
        "projections.joint": tuple(f"{layer}.self_attn.{name}_proj" for name in "qkv"),
        "mix_heads": (f"{layer}.self_attn.o_proj",),
        "attention_norm": (f"{layer}.post_attention_layernorm",),
        "output_norm": (f"{layer}.post_mlp_layernorm",),
        "feed_forward.joint": (f"{layer}.mlp.gate_proj", f"{layer}.mlp.up_proj"),
        "feed_forward.outer": (f"{layer}.mlp.down_proj",),
    }
