"""jina-embeddings-v2 as a torch module, loaded strictly and without the remote code with which it is published.

A BERT without position embeddings: attention scores fall with the distance between query and key instead, in each head
with another slope (Press, Smith, Lewis, "Train Short, Test Long", 2022). Its feed-forward blocks are gated (GeGLU). Of
the two published variants, one gates the first half, and one the second; the latter norms queries and keys too, and
has one norm more in each layer. Attribute names are the published tensor names.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor, nn
from torch.nn import functional

from trivet.checkpoint.files import find_weight_files, read_config
from trivet.checkpoint.jina_bert import JinaBertConfig
from trivet.engine.models.flat.weights import Naming, load_weights


class JinaBertModel(nn.Module):
    """``forward(input_ids (B, T) int64, attention_mask (B, T) int64) -> (B, T, H)`` in the weights' dtype.

    Hidden states at padded positions are meaningless. The bias of the attention takes heads · T² numbers.
    """

    slopes: Tensor

    def __init__(self, config: JinaBertConfig, *, norms_queries: bool) -> None:
        super().__init__()
        self.config = config
        self.embeddings = _Embeddings(config)
        self.encoder = _Encoder(config, norms_queries=norms_queries)
        with torch.device("cpu"):  # real values even while the parameters are built on the meta device
            slopes = torch.tensor(alibi_slopes(config.heads))
        self.register_buffer("slopes", slopes, persistent=False)  # (heads,) fp32

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """See the class."""
        x = self.embeddings(input_ids)  # (B, T, H)
        at = torch.arange(input_ids.shape[1], device=input_ids.device)  # (T,)
        distance = (at[:, None] - at[None, :]).abs().float()  # (T, T)
        falling = -self.slopes[:, None, None] * distance  # (heads, T, T)
        is_token = attention_mask.bool()[:, None, None, :]  # (B, 1, 1, T)
        # The bias is 0 at the token itself and finite elsewhere, so a key that is masked needs a far smaller number.
        bias = torch.where(is_token, falling[None], torch.finfo(x.dtype).min / 2).to(x.dtype)  # (B, heads, T, T)
        hidden: Tensor = self.encoder(x, bias)
        return hidden


def alibi_slopes(heads: int) -> list[float]:
    """Return the slope of each head: 2^(-8/n), 2^(-16/n), … for n heads.

    If n is no power of 2, the slopes of the next lower one come first, then every other slope of the next higher one.
    """
    power = 2 ** math.floor(math.log2(heads))

    def of_power(count: int) -> list[float]:
        return [2.0 ** (-8.0 * (at + 1) / count) for at in range(count)]

    return (of_power(power) + of_power(2 * power)[0::2])[:heads]


class _Embeddings(nn.Module):
    def __init__(self, config: JinaBertConfig) -> None:
        super().__init__()
        self.word_embeddings = nn.Embedding(config.vocab_size, config.hidden_size)
        self.token_type_embeddings = nn.Embedding(config.token_types, config.hidden_size)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def forward(self, input_ids: Tensor) -> Tensor:
        normed: Tensor = self.LayerNorm(self.word_embeddings(input_ids) + self.token_type_embeddings.weight[0])
        return normed


class _Encoder(nn.Module):
    def __init__(self, config: JinaBertConfig, *, norms_queries: bool) -> None:
        super().__init__()
        kind = _NormedLayer if norms_queries else _Layer
        self.layer = nn.ModuleList(kind(config) for _ in range(config.layers))

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        for layer in self.layer:
            x = layer(x, bias)
        return x


class _Self(nn.Module):
    def __init__(self, config: JinaBertConfig, *, norms_queries: bool) -> None:
        super().__init__()
        size = config.hidden_size
        self.heads = config.heads
        self.query, self.key, self.value = (nn.Linear(size, size) for _ in range(3))
        if norms_queries:
            self.layer_norm_q = nn.LayerNorm(size, eps=config.layer_norm_eps)
            self.layer_norm_k = nn.LayerNorm(size, eps=config.layer_norm_eps)
        self.norms_queries = norms_queries

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        q, k, v = self.query(x), self.key(x), self.value(x)
        if self.norms_queries:
            q, k = self.layer_norm_q(q), self.layer_norm_k(k)
        batch, tokens, size = x.shape
        q, k, v = (part.view(batch, tokens, self.heads, -1).transpose(1, 2) for part in (q, k, v))  # (B, heads, T, D)
        mixed = functional.scaled_dot_product_attention(q, k, v, bias)
        return mixed.transpose(1, 2).reshape(batch, tokens, size)


class _SelfOutput(nn.Module):
    def __init__(self, config: JinaBertConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def forward(self, mixed: Tensor, x: Tensor) -> Tensor:
        normed: Tensor = self.LayerNorm(x + self.dense(mixed))
        return normed


class _Attention(nn.Module):
    def __init__(self, config: JinaBertConfig, *, norms_queries: bool) -> None:
        super().__init__()
        self.self = _Self(config, norms_queries=norms_queries)
        self.output = _SelfOutput(config)

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        attended: Tensor = self.output(self.self(x, bias), x)
        return attended


class _GatedMlp(nn.Module):
    """The first half is gated: ``LayerNorm(x + wo(gelu(first) · second))``."""

    def __init__(self, config: JinaBertConfig) -> None:
        super().__init__()
        self.gated_layers = nn.Linear(config.hidden_size, 2 * config.intermediate_size, bias=False)
        self.wo = nn.Linear(config.intermediate_size, config.hidden_size)
        self.layernorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def forward(self, x: Tensor) -> Tensor:
        gate, up = self.gated_layers(x).chunk(2, dim=-1)
        normed: Tensor = self.layernorm(x + self.wo(functional.gelu(gate) * up))
        return normed


class _UpGatedMlp(nn.Module):
    """The second half is gated, without residual and norm."""

    def __init__(self, config: JinaBertConfig) -> None:
        super().__init__()
        self.up_gated_layer = nn.Linear(config.hidden_size, 2 * config.intermediate_size, bias=False)
        self.down_layer = nn.Linear(config.intermediate_size, config.hidden_size)

    def forward(self, x: Tensor) -> Tensor:
        up, gate = self.up_gated_layer(x).chunk(2, dim=-1)
        fed: Tensor = self.down_layer(up * functional.gelu(gate))
        return fed


class _Layer(nn.Module):
    def __init__(self, config: JinaBertConfig) -> None:
        super().__init__()
        self.attention = _Attention(config, norms_queries=False)
        self.mlp = _GatedMlp(config)

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        fed: Tensor = self.mlp(self.attention(x, bias))
        return fed


class _NormedLayer(nn.Module):
    def __init__(self, config: JinaBertConfig) -> None:
        super().__init__()
        self.attention = _Attention(config, norms_queries=True)
        self.layer_norm_1 = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.mlp = _UpGatedMlp(config)
        self.layer_norm_2 = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        x = self.layer_norm_1(x + self.attention(x, bias))
        normed: Tensor = self.layer_norm_2(x + self.mlp(x))
        return normed


def load_jina_bert(model_dir: Path, dtype: torch.dtype = torch.float32) -> JinaBertModel:
    """Load a published checkpoint onto the CPU.

    Raises:
        CheckpointMismatch: a field of config.json, or a tensor's name or shape, is not the architecture's.
        ModelError: files are missing, or the checkpoint is a pickle.
    """
    config = JinaBertConfig.from_json(read_config(model_dir))
    with torch.device("meta"):
        model = JinaBertModel(config, norms_queries=_norms_queries(model_dir))
    own = [name for name, module in model.named_modules() if any(True for _ in module.parameters(recurse=False))]

    def sources(_names: Collection[str]) -> dict[str, tuple[str, ...]]:
        return {name: (name,) for name in own}

    naming = Naming(("bert.",), sources)
    load_weights(model, model_dir, naming, what="embedder", device=torch.device("cpu"), dtype_of=lambda _: dtype)
    return model.eval().requires_grad_(False)


def _norms_queries(model_dir: Path) -> bool:
    """Whether the checkpoint is of the second variant."""
    for file in find_weight_files(model_dir):
        with safe_open(file, framework="pt") as opened:
            if any(".attention.self.layer_norm_q." in name for name in opened.keys()):  # noqa: SIM118 - no mapping
                return True
    return False
