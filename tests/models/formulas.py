"""References of our own where upstream has remote code or a recipe in a model card alone. float64, no padding.

Encoders are written from their published formulas, one sequence at a time. What transformers computes itself (decoders)
is run by transformers in float64; the template around a pair is written from the model's card.

Sources:

- `nomic_bert` (v1.5 and v2 MoE): nomic-ai/contrastors, modeling_hf_nomic_bert.py, as in text-embeddings-inference
  (nomic.rs). Post-norm; fc11 · silu(fc12); softmax over all experts before the top 2, not renormalised.
- `new`: Alibaba-NLP/new-impl, as in text-embeddings-inference (gte.rs) and vLLM (NTKScalingRotaryEmbedding): fixed NTK
  scaling turns at base · factor, all frequencies divided by factor^(2/head size) (https://kexue.fm/archives/9706, 6).
- jina v2: jinaai/jina-bert-implementation and jina-bert-v2-qk-post-norm, as in text-embeddings-inference (jina.rs,
  jina_code.rs): ALiBi (Press et al. 2022) with |i - j|, on both sides.
- Qwen3-Reranker, bge-reranker-v2-gemma: the usage in their cards. mxbai-rerank-v2: mixedbread-ai/mxbai-rerank.
- bge-m3: FlagEmbedding, M3Embedder: relu(sparse_linear), the largest weight of each token id, special tokens left out;
  colbert_linear of all tokens but the first, normalised.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn import functional

from tests.models.library import Side
from tests.support.published import causal_rerankers as templates
from trivet.messages import Floats

Tensors = dict[str, Tensor]
Ids = Callable[[Tokenizer, str, str], list[int]]
"""(tokenizer, query, document) → ids of the whole prompt."""
Hidden = Callable[[Path, Tensors, dict[str, Any], Tensor], Tensor]
"""(folder, tensors in float64, config.json, ids (T,)) → hidden states (T, H)."""


def _tensors(path: Path, file: str = "model.safetensors") -> Tensors:
    return {key: tensor.double() for key, tensor in load_file(path / file).items()}


def _json(file: Path) -> Any:
    return json.loads(file.read_text()) if file.is_file() else {}


def _tokenizer(path: Path) -> Tokenizer:
    tokenizer = Tokenizer.from_file(str(path / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


# ── parts of encoders ───────────────────────────────────────────────────────────────────────────────────────────────


def _linear(tensors: Tensors, key: str, x: Tensor) -> Tensor:
    return functional.linear(x, tensors[f"{key}.weight"], tensors.get(f"{key}.bias"))


def _norm(tensors: Tensors, key: str, x: Tensor, eps: float) -> Tensor:
    return functional.layer_norm(x, x.shape[-1:], tensors[f"{key}.weight"], tensors[f"{key}.bias"], eps)


def _heads(x: Tensor, heads: int) -> Tensor:
    return x.unflatten(-1, (heads, -1)).transpose(0, 1)  # (T, H) → (h, T, D)


def _rotate(x: Tensor, frequencies: Tensor) -> Tensor:
    """(h, T, D): pair (i, i + D/2) of position t turns by t · frequency i."""
    angles = torch.outer(torch.arange(x.shape[1], dtype=torch.float64), frequencies)  # (T, D/2)
    first, second = x.chunk(2, dim=-1)
    cos, sin = angles.cos(), angles.sin()
    return torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)


def _frequencies(size: int, base: float) -> Tensor:
    return base ** (-torch.arange(0, size, 2, dtype=torch.float64) / size)


def _attend(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | float = 0.0) -> Tensor:
    """(h, T, D) three times → (T, H)."""
    scores = q @ k.transpose(1, 2) / math.sqrt(q.shape[-1]) + bias
    return (scores.softmax(dim=-1) @ v).transpose(0, 1).flatten(1)


def _embeddings(tensors: Tensors, ids: Tensor, norm: str, eps: float) -> Tensor:
    x = tensors["embeddings.word_embeddings.weight"][ids]
    types = tensors.get("embeddings.token_type_embeddings.weight")
    return _norm(tensors, norm, x if types is None else x + types[0], eps)


# ── encoders ────────────────────────────────────────────────────────────────────────────────────────────────────────


def nomic(path: Path, tensors: Tensors, config: dict[str, Any], ids: Tensor) -> Tensor:
    """nomic_bert by its own field names; dense gated layers, or plain ones with experts on every other."""
    eps, heads = config["layer_norm_epsilon"], config["n_head"]
    frequencies = _frequencies(config["n_embd"] // heads, config["rotary_emb_base"])
    x = _embeddings(tensors, ids, "emb_ln", eps)
    for at in range(config["n_layer"]):
        layer = f"encoder.layers.{at}"
        q, k, v = (_heads(part, heads) for part in _linear(tensors, f"{layer}.attn.Wqkv", x).chunk(3, dim=-1))
        mixed = _attend(_rotate(q, frequencies), _rotate(k, frequencies), v)
        x = _norm(tensors, f"{layer}.norm1", x + _linear(tensors, f"{layer}.attn.out_proj", mixed), eps)
        x = _norm(tensors, f"{layer}.norm2", x + _nomic_feed(tensors, config, f"{layer}.mlp", x), eps)
    return x


def _nomic_feed(tensors: Tensors, config: dict[str, Any], mlp: str, x: Tensor) -> Tensor:
    if f"{mlp}.fc11.weight" in tensors:
        gated = _linear(tensors, f"{mlp}.fc11", x) * functional.silu(_linear(tensors, f"{mlp}.fc12", x))
        return _linear(tensors, f"{mlp}.fc2", gated)
    if f"{mlp}.fc1.weight" in tensors:
        return _linear(tensors, f"{mlp}.fc2", functional.gelu(_linear(tensors, f"{mlp}.fc1", x)))
    shares = _linear(tensors, f"{mlp}.router.layer", x).softmax(dim=-1)  # (T, E)
    weights, chosen = shares.topk(config["moe_top_k"], dim=-1)
    shape = (config["num_experts"], config["n_inner"], config["n_embd"])
    w1, w2 = (tensors[f"{mlp}.experts.mlp.{name}"].view(shape) for name in ("w1", "w2"))
    rows = []
    for token, share, experts in zip(x, weights, chosen, strict=True):
        rows.append(sum(s * (functional.gelu(w1[e] @ token) @ w2[e]) for s, e in zip(share, experts, strict=True)))
    return torch.stack(rows) + tensors[f"{mlp}.experts.bias"]


def gte_new(path: Path, tensors: Tensors, config: dict[str, Any], ids: Tensor) -> Tensor:
    """`new`: post-norm, fused qkv with biases, GeGLU (up first, gate second), rotary with fixed NTK scaling."""
    tensors = {key.removeprefix("new."): tensor for key, tensor in tensors.items()}
    eps, heads = config["layer_norm_eps"], config["num_attention_heads"]
    size = config["hidden_size"] // heads
    scaling = config.get("rope_scaling") or {"factor": 1.0}
    frequencies = _frequencies(size, config["rope_theta"] * scaling["factor"]) / scaling["factor"] ** (2 / size)
    x = _embeddings(tensors, ids, "embeddings.LayerNorm", eps)
    for at in range(config["num_hidden_layers"]):
        layer = f"encoder.layer.{at}"
        fused = _linear(tensors, f"{layer}.attention.qkv_proj", x)
        q, k, v = (_heads(part, heads) for part in fused.chunk(3, dim=-1))
        mixed = _attend(_rotate(q, frequencies), _rotate(k, frequencies), v)
        x = _norm(tensors, f"{layer}.attn_ln", x + _linear(tensors, f"{layer}.attention.o_proj", mixed), eps)
        up, gate = _linear(tensors, f"{layer}.mlp.up_gate_proj", x).chunk(2, dim=-1)
        fed = _linear(tensors, f"{layer}.mlp.down_proj", up * functional.gelu(gate))
        x = _norm(tensors, f"{layer}.mlp_ln", x + fed, eps)
    return x


def _alibi(heads: int, tokens: int) -> Tensor:
    """(h, T, T): minus slope times distance. Numbers of heads that are no power of 2 take every other slope of twice
    as many."""

    def slopes(count: int) -> list[float]:
        start = 2.0 ** (-(2.0 ** -(math.log2(count) - 3)))
        return [start ** (at + 1) for at in range(count)]

    power = 2 ** math.floor(math.log2(heads))
    of_heads = torch.tensor((slopes(power) + slopes(2 * power)[0::2])[:heads], dtype=torch.float64)
    at = torch.arange(tokens)
    return -of_heads[:, None, None] * (at[:, None] - at[None, :]).abs()


def jina_v2(path: Path, tensors: Tensors, config: dict[str, Any], ids: Tensor) -> Tensor:
    """JinaBERT, both implementations, told apart by their tensors."""
    eps, heads = config["layer_norm_eps"], config["num_attention_heads"]
    bias = _alibi(heads, len(ids))
    x = _embeddings(tensors, ids, "embeddings.LayerNorm", eps)
    for at in range(config["num_hidden_layers"]):
        layer = f"encoder.layer.{at}"
        own = f"{layer}.attention.self"
        q, k, v = (_linear(tensors, f"{own}.{name}", x) for name in ("query", "key", "value"))
        if f"{own}.layer_norm_q.weight" in tensors:
            q, k = _norm(tensors, f"{own}.layer_norm_q", q, eps), _norm(tensors, f"{own}.layer_norm_k", k, eps)
        mixed = _linear(
            tensors, f"{layer}.attention.output.dense", _attend(*(_heads(y, heads) for y in (q, k, v)), bias)
        )
        attended = _norm(tensors, f"{layer}.attention.output.LayerNorm", x + mixed, eps)
        if f"{layer}.layer_norm_1.weight" in tensors:  # the second half is gated, and a norm stands before it
            x = _norm(tensors, f"{layer}.layer_norm_1", x + attended, eps)
            up, gate = _linear(tensors, f"{layer}.mlp.up_gated_layer", x).chunk(2, dim=-1)
            fed = _linear(tensors, f"{layer}.mlp.down_layer", up * functional.gelu(gate))
            x = _norm(tensors, f"{layer}.layer_norm_2", x + fed, eps)
        else:
            gate, up = _linear(tensors, f"{layer}.mlp.gated_layers", attended).chunk(2, dim=-1)
            fed = _linear(tensors, f"{layer}.mlp.wo", functional.gelu(gate) * up)
            x = _norm(tensors, f"{layer}.mlp.layernorm", attended + fed, eps)
    return x


def bidirectional_decoder(model_type: str) -> Hidden:
    """A decoder of transformers that attends both ways, from a config.json that transformers would read otherwise."""

    def hidden(path: Path, tensors: Tensors, config: dict[str, Any], ids: Tensor) -> Tensor:
        from transformers import AutoConfig, AutoModel

        fields = {key: value for key, value in config.items() if key not in ("auto_map", "model_type")}
        native = AutoConfig.for_model(model_type, **{**fields, "is_causal": False, "use_cache": False, "dtype": None})
        model = AutoModel.from_config(native).double().eval()
        own = {key.removeprefix("model."): tensor for key, tensor in tensors.items()}
        wanted = model.state_dict().keys()
        model.load_state_dict({key: own[key] for key in wanted})
        with torch.no_grad():
            found: Tensor = model(input_ids=ids[None]).last_hidden_state[0]
        return found

    return hidden


def native() -> Hidden:
    """What transformers' own encoder computes, where sentence-transformers would want more files than a text needs."""
    models: dict[Path, Any] = {}

    def hidden(path: Path, tensors: Tensors, config: dict[str, Any], ids: Tensor) -> Tensor:
        from transformers import AutoModel

        if path not in models:
            models[path] = AutoModel.from_pretrained(path, dtype=torch.float64, local_files_only=True).eval()
        with torch.no_grad():
            found: Tensor = models[path](input_ids=ids[None]).last_hidden_state[0]
        return found

    return hidden


# ── embedders ───────────────────────────────────────────────────────────────────────────────────────────────────────


class FormulaEmbedder:
    """An encoder's hidden states, pooled, projected and normalised as the module files say."""

    def __init__(self, path: Path, hidden: Hidden, *, projection: str | None = None) -> None:
        self._path, self._hidden = path, hidden
        self._tensors = _tensors(path)
        self._config = _json(path / "config.json")
        self._tokenizer = _tokenizer(path)
        self._projection = projection
        self._prompts: dict[str, str] = _json(path / "config_sentence_transformers.json").get("prompts") or {}
        self._modules = [
            (module["type"].split(".")[-1], path / module["path"]) for module in _json(path / "modules.json")
        ]

    def hidden(self, text: str) -> tuple[list[int], Tensor]:
        """Ids (T,) and hidden states (T, H) of one text."""
        ids = self._tokenizer.encode(text).ids
        return ids, self._hidden(self._path, self._tensors, self._config, torch.tensor(ids))

    def embed(self, texts: Sequence[str], side: Side = None) -> Floats:
        """(texts, dimensions)."""
        names = {"query": ("query",), "document": ("document", "passage")}.get(str(side), ())
        prompt = next((self._prompts[name] for name in names if name in self._prompts), "")
        return torch.stack([self._embed(prompt + text) for text in texts]).float().numpy()

    def _embed(self, text: str) -> Tensor:
        _, x = self.hidden(text)
        if self._projection is not None:
            x = _linear(self._tensors, self._projection, x)
        for kind, folder in self._modules[1:]:
            if kind == "Pooling":
                flags = _json(folder / "config.json")
                pooled = {"cls": x[0], "mean": x.mean(dim=0), "lasttoken": x[-1]}
                suffix = {"cls": "cls_token", "mean": "mean_tokens", "lasttoken": "lasttoken"}
                x = next(pooled[mode] for mode, flag in suffix.items() if flags[f"pooling_mode_{flag}"])
            elif kind == "Dense":
                x = _linear(_tensors(folder), "linear", x)
            else:
                x = functional.normalize(x, dim=-1)
        return x


# ── rerankers that answer with a word ───────────────────────────────────────────────────────────────────────────────


class AnswerReference:
    """The logit of one word at the end of a prompt, less that of another, by transformers' model in float64."""

    def __init__(self, path: Path, ids: Ids, yes: str, no: str | None) -> None:
        from transformers import AutoModelForCausalLM

        self._tokenizer = _tokenizer(path)
        self._ids = ids
        self._yes, self._no = (word and self._tokenizer.token_to_id(word) for word in (yes, no))
        self._model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float64, local_files_only=True).eval()

    def logits(self, query: str, documents: Sequence[str]) -> Floats:
        """(documents,)."""
        return np.asarray([self._logit(query, document) for document in documents], dtype=np.float32)

    @torch.no_grad()
    def _logit(self, query: str, document: str) -> float:
        ids = self._ids(self._tokenizer, query, document)
        last = self._model(input_ids=torch.tensor([ids]), use_cache=False).logits[0, -1]
        return float(last[self._yes] - (last[self._no] if self._no is not None else 0.0))


class PromptedClassifierReference:
    """A sequence classifier of one label over a prompt, in float64."""

    def __init__(self, path: Path, ids: Ids) -> None:
        from transformers import AutoModelForSequenceClassification

        self._tokenizer = _tokenizer(path)
        self._ids = ids
        load = AutoModelForSequenceClassification.from_pretrained
        self._model = load(path, dtype=torch.float64, local_files_only=True).eval()

    @torch.no_grad()
    def logits(self, query: str, documents: Sequence[str]) -> Floats:
        """(documents,)."""
        rows = []
        for document in documents:
            ids = torch.tensor([self._ids(self._tokenizer, query, document)])
            rows.append(float(self._model(input_ids=ids, use_cache=False).logits[0, 0]))
        return np.asarray(rows, dtype=np.float32)


def _encode(tokenizer: Tokenizer, text: str) -> list[int]:
    return list(tokenizer.encode(text, add_special_tokens=False).ids)


def qwen3_ids(tokenizer: Tokenizer, query: str, document: str) -> list[int]:
    """The card encodes prefix, pair and suffix on their own and lays them end to end."""
    pair = f"<Instruct>: {templates.QWEN3_INSTRUCTION}\n<Query>: {query}\n<Document>: {document}"
    return [x for part in (templates.QWEN3_PREFIX, pair, templates.QWEN3_SUFFIX) for x in _encode(tokenizer, part)]


def mxbai_ids(tokenizer: Tokenizer, query: str, document: str) -> list[int]:
    """Six parts, each encoded on its own."""
    parts = (
        templates.MXBAI_PREFIX, f"query: {query}", "\n", f"document: {document}", "\n", templates.MXBAI_TASK,
        templates.MXBAI_SUFFIX,
    )  # fmt: skip
    return [x for part in parts for x in _encode(tokenizer, part)]


def gemma_ids(tokenizer: Tokenizer, query: str, document: str) -> list[int]:
    """`<bos>`, then five parts, each encoded on its own."""
    parts = (f"A: {query}", "\n", f"B: {document}", "\n", templates.GEMMA_TASK)
    return [tokenizer.token_to_id("<bos>"), *(x for part in parts for x in _encode(tokenizer, part))]


# ── bge-m3's other outputs ──────────────────────────────────────────────────────────────────────────────────────────


class M3Reference:
    """Sparse weights and token vectors from the two heads beside bge-m3."""

    def __init__(self, path: Path) -> None:
        from transformers import AutoModel

        self._tokenizer = _tokenizer(path)
        self._model = AutoModel.from_pretrained(path, dtype=torch.float64, local_files_only=True).eval()
        self._heads = {
            name: {key: tensor.double() for key, tensor in torch.load(path / f"{name}_linear.pt").items()}
            for name in ("sparse", "colbert")
        }

    @torch.no_grad()
    def _hidden(self, text: str) -> tuple[list[int], Tensor]:
        ids = self._tokenizer.encode(text).ids
        return ids, self._model(input_ids=torch.tensor([ids])).last_hidden_state[0]

    def sparse(self, texts: Sequence[str], side: Side = None) -> list[dict[int, float]]:
        """Weight by token id, of each text."""
        rows = []
        for text in texts:
            ids, hidden = self._hidden(text)
            weights = functional.linear(hidden, self._heads["sparse"]["weight"], self._heads["sparse"]["bias"]).relu()
            row: dict[int, float] = {}
            for token, weight in zip(ids, weights[:, 0].tolist(), strict=True):
                if token not in (0, 1, 2, 3) and weight > row.get(token, 0.0):  # <s>, <pad>, </s>, <unk>
                    row[token] = weight
            rows.append(row)
        return rows

    def tokens(self, texts: Sequence[str], side: Side = None) -> list[Floats]:
        """(tokens - 1, dimensions) of each text."""
        rows = []
        for text in texts:
            _, hidden = self._hidden(text)
            head = self._heads["colbert"]
            rows.append(functional.normalize(functional.linear(hidden[1:], head["weight"], head["bias"]), dim=-1))
        return [row.float().numpy() for row in rows]
