"""nomic-embed-text-v2-moe as a torch module, loaded strictly.

transformers 5 maps this checkpoint's ``model_type`` to its dense NomicBert, discards every expert and returns finite
nonsense; the checkpoint's remote code was written for transformers 4. So this module implements the architecture: a
post-norm encoder with rotary attention. In every second layer, eight experts replace the feed-forward block, and each
token is routed to two of them. Attribute names are the published tensor names, so the state dict has the file's layout.

Pooling and normalisation are done elsewhere.
"""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor, nn
from torch.nn import functional

from trivet.checkpoint.files import CheckpointMismatch, find_weight_files, read_config
from trivet.checkpoint.nomic import NomicMoeConfig
from trivet.engine.models.rotary import rotary_table, rotate

_NAMES_IN_MESSAGE = 8


class NomicMoeModel(nn.Module):
    """The encoder: token ids to hidden states.

    ``forward(input_ids (B, T) int64, attention_mask (B, T) int64) -> (B, T, H)`` in the weights' dtype, where
    1 in the mask is a token and 0 padding. Hidden states at padded positions are meaningless. If several sequences
    share a row, the mask says which query sees which key, (B, 1, T, T). Rotary attention does not depend on the place
    in the row at which a sequence begins.
    """

    def __init__(self, config: NomicMoeConfig) -> None:
        super().__init__()
        self.config = config
        self.embeddings = _Embeddings(config)
        self.emb_ln = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.encoder = _Encoder(config)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Hidden states of the last layer; see the class for shapes."""
        x = self.emb_ln(self.embeddings(input_ids))  # (B, T, H)
        is_token = attention_mask.bool()
        attn_mask = is_token if is_token.ndim == 4 else is_token[:, None, None, :]  # (B, 1, 1 or T, T)
        hidden: Tensor = self.encoder(x, attn_mask)  # (B, T, H)
        return hidden


class _Embeddings(nn.Module):
    def __init__(self, config: NomicMoeConfig) -> None:
        super().__init__()
        # No padding_idx: the row of <pad> is trained and not zero.
        self.word_embeddings = nn.Embedding(config.vocab_size, config.hidden_size)
        self.token_type_embeddings = nn.Embedding(1, config.hidden_size)

    def forward(self, input_ids: Tensor) -> Tensor:
        words: Tensor = self.word_embeddings(input_ids)  # (B, T, H)
        return words + self.token_type_embeddings.weight[0]


class _Encoder(nn.Module):
    cos: Tensor
    sin: Tensor

    def __init__(self, config: NomicMoeConfig) -> None:
        super().__init__()
        self.layers = nn.ModuleList(_Layer(config, index) for index in range(config.layers))
        with torch.device("cpu"):  # real values even while the parameters are built on the meta device
            cos, sin = rotary_table(config.max_positions, config.head_size, config.rotary_base)
        self.register_buffer("cos", cos, persistent=False)  # (P, D) fp32
        self.register_buffer("sin", sin, persistent=False)  # (P, D) fp32

    def forward(self, x: Tensor, attn_mask: Tensor) -> Tensor:
        tokens = x.shape[1]
        cos, sin = self.cos[:tokens], self.sin[:tokens]  # (T, D)
        for layer in self.layers:
            x = layer(x, attn_mask, cos, sin)
        return x


class _Layer(nn.Module):
    """Post-norm block: ``x = norm1(x + attn(x)); x = norm2(x + mlp(x))``."""

    def __init__(self, config: NomicMoeConfig, index: int) -> None:
        super().__init__()
        self.attn = _Attention(config)
        self.norm1 = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.mlp: nn.Module = _MoeMlp(config) if config.is_moe_layer(index) else _DenseMlp(config)
        self.norm2 = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def forward(self, x: Tensor, attn_mask: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        x = self.norm1(x + self.attn(x, attn_mask, cos, sin))
        normed: Tensor = self.norm2(x + self.mlp(x))
        return normed


class _Attention(nn.Module):
    def __init__(self, config: NomicMoeConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.head_size = config.head_size
        self.Wqkv = nn.Linear(config.hidden_size, 3 * config.hidden_size)
        self.out_proj = nn.Linear(config.hidden_size, config.hidden_size)

    def forward(self, x: Tensor, attn_mask: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        batch, tokens, _ = x.shape
        # Rows of Wqkv are [all of q | all of k | all of v], not interleaved per head.
        qkv = self.Wqkv(x).view(batch, tokens, 3, self.heads, self.head_size)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)  # each (B, heads, T, D)
        q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        attn_output = functional.scaled_dot_product_attention(q, k, v, attn_mask=attn_mask)  # (B, heads, T, D)
        out: Tensor = self.out_proj(attn_output.transpose(1, 2).flatten(2))  # (B, T, H)
        return out


class _DenseMlp(nn.Module):
    def __init__(self, config: NomicMoeConfig) -> None:
        super().__init__()
        self.fc1 = nn.Linear(config.hidden_size, config.inner_size)
        self.fc2 = nn.Linear(config.inner_size, config.hidden_size)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.fc2(functional.gelu(self.fc1(x)))  # erf form
        return out


class _MoeMlp(nn.Module):
    """Top-k routed experts, and one bias that they share, added once after the weighted sum."""

    def __init__(self, config: NomicMoeConfig) -> None:
        super().__init__()
        self.router = _Router(config)
        self.experts = _Experts(config)

    def forward(self, x: Tensor) -> Tensor:
        tokens = x.flatten(0, 1)  # (N, H), N = B·T
        weights, chosen = self.router(tokens)  # (N, k) fp32, (N, k)
        out: Tensor = self.experts(tokens, weights, chosen)  # (N, H)
        return out.view_as(x)


class _Router(nn.Module):
    def __init__(self, config: NomicMoeConfig) -> None:
        super().__init__()
        self.experts_per_token = config.experts_per_token
        self.layer = nn.Linear(config.hidden_size, config.experts, bias=False)

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        # fp32 whatever the weights' dtype: rounding here would send tokens to other experts.
        logits = functional.linear(tokens.float(), self.layer.weight.float())  # (N, E)
        probabilities = logits.softmax(dim=-1)  # over all experts; the top k are not renormalised
        weights, chosen = probabilities.topk(self.experts_per_token, dim=-1)  # (N, k), (N, k)
        return weights, chosen


class _ExpertWeights(nn.Module):
    def __init__(self, config: NomicMoeConfig) -> None:
        super().__init__()
        rows = config.experts * config.inner_size
        self.w1 = nn.Parameter(torch.empty(rows, config.hidden_size))  # (E·F, H), expert axis outer
        self.w2 = nn.Parameter(torch.empty(rows, config.hidden_size))  # (E·F, H)


class _Experts(nn.Module):
    """``gelu(x @ w1[e].T) @ w2[e]`` for each expert, over the tokens that are routed to it."""

    def __init__(self, config: NomicMoeConfig) -> None:
        super().__init__()
        self.shape = (config.experts, config.inner_size, config.hidden_size)
        self.mlp = _ExpertWeights(config)
        self.bias = nn.Parameter(torch.empty(config.hidden_size))  # (H,)

    def forward(self, tokens: Tensor, weights: Tensor, chosen: Tensor) -> Tensor:
        """``tokens`` (N, H), ``weights`` (N, k) fp32, ``chosen`` (N, k) expert ids → (N, H)."""
        w1, w2 = self.mlp.w1.view(self.shape), self.mlp.w2.view(self.shape)  # (E, F, H)
        mix = _mix_grouped if tokens.is_cuda else _mix_one_by_one
        return mix(tokens, weights, chosen, w1, w2) + self.bias


def _mix_one_by_one(tokens: Tensor, weights: Tensor, chosen: Tensor, w1: Tensor, w2: Tensor) -> Tensor:
    """Loop over the experts, each of which gathers its tokens. OpenVINO runs the exported loop sparsely."""
    out = torch.zeros_like(tokens)  # (N, H)
    for expert in range(w1.shape[0]):
        rows, slots = torch.where(chosen == expert)  # (n,), (n,)
        answer = functional.gelu(tokens[rows] @ w1[expert].T) @ w2[expert]  # (n, H)
        share = weights[rows, slots, None].to(tokens.dtype)  # (n, 1)
        out = out.index_add(0, rows, answer * share)
    return out


def _mix_grouped(tokens: Tensor, weights: Tensor, chosen: Tensor, w1: Tensor, w2: Tensor) -> Tensor:
    """Compute two grouped matrix products over tokens sorted by expert. Sizes stay on the device, without a wait."""
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
    shares = weights.to(tokens.dtype)[..., None]  # (N, k, 1)
    return (unsorted.view(-1, per_token, tokens.shape[1]) * shares).sum(1)  # (N, H)


def load_nomic_moe(model_dir: Path, dtype: torch.dtype = torch.float32) -> NomicMoeModel:
    """Load a published checkpoint. In the file's dtype the weights stay mapped from the file instead of being copied.

    Raises:
        CheckpointMismatch: a config field, or a tensor's name, shape or type, is not the architecture's.
        ModelError: files are missing, or the checkpoint is a pickle.
    """
    config = NomicMoeConfig.from_json(read_config(model_dir))
    with torch.device("meta"):
        model = NomicMoeModel(config)
    state = _read_strictly(model_dir, {name: tuple(t.shape) for name, t in model.state_dict().items()})
    model.load_state_dict({name: tensor.to(dtype) for name, tensor in state.items()}, strict=True, assign=True)
    return model.eval().requires_grad_(False)


def _read_strictly(model_dir: Path, expected: dict[str, tuple[int, ...]]) -> dict[str, Tensor]:
    state: dict[str, Tensor] = {}
    for file in find_weight_files(model_dir):
        with safe_open(file, framework="pt") as opened:
            state.update({name: opened.get_tensor(name) for name in opened.keys()})  # noqa: SIM118 - not a dict
    missing = sorted(expected.keys() - state.keys())
    unexpected = sorted(state.keys() - expected.keys())
    shared = sorted(expected.keys() & state.keys())
    misshapen = [
        f"{name} is {tuple(state[name].shape)}, config.json says {expected[name]}"
        for name in shared
        if tuple(state[name].shape) != expected[name]
    ]
    mistyped = [f"{name} is {state[name].dtype}" for name in shared if not state[name].is_floating_point()]
    problems = [
        f"{kind}: {_abridged(names)}"
        for kind, names in (
            ("missing tensors", missing),
            ("unexpected tensors", unexpected),
            ("wrong shapes", misshapen),
            ("not floating point", mistyped),
        )
        if names
    ]
    if problems:
        raise CheckpointMismatch(f"{model_dir} is not a nomic v2 MoE checkpoint: " + "; ".join(problems))
    return state


def _abridged(names: list[str]) -> str:
    shown = ", ".join(names[:_NAMES_IN_MESSAGE])
    return shown if len(names) <= _NAMES_IN_MESSAGE else f"{shown} and {len(names) - _NAMES_IN_MESSAGE} more"
