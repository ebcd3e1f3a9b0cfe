"""Checkpoints of every family, and batches laid end to end, for the tests of this folder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from trivet.engine.models.flat.load import FlatModel

LENGTHS = (1, 2, 37, 700, 5, 128, 129, 263, 64, 65)
"""Tokens of the sequences that lie side by side: a single one, both sides of a window, and many windows."""


def sequences(lengths: Sequence[int], vocab_size: int = 200, seed: int = 0) -> list[Tensor]:
    """Random ids, none of them special."""
    random = torch.Generator().manual_seed(seed)
    return [torch.randint(5, vocab_size, (length,), generator=random) for length in lengths]


def token_types(sequence: Tensor) -> Tensor:
    """The second half is of type 1."""
    return (torch.arange(len(sequence)) >= len(sequence) // 2).long()


def pack(parts: Sequence[Tensor], types: Sequence[Tensor] | None = None, device: str = "cpu") -> dict[str, Any]:
    """Arguments of a flat model's forward."""
    lengths = [len(part) for part in parts]
    return {
        "ids": torch.cat(list(parts)).to(device),
        "token_types": None if types is None else torch.cat(list(types)).to(device),
        "positions": torch.cat([torch.arange(length) for length in lengths]).to(device),
        "cu_seqlens": torch.tensor(np.cumsum([0, *lengths]), dtype=torch.int32).to(device),
        "max_len": max(lengths),
    }


def run(model: FlatModel, parts: Sequence[Tensor], types: Sequence[Tensor] | None = None) -> Tensor:
    """(S, outputs) fp32 on the host."""
    device = str(next(model.parameters()).device)
    with torch.inference_mode():
        outputs: Tensor = model(**pack(parts, types, device)).cpu()
    return outputs


class Bins(NamedTuple):
    """Sequences side by side in bins of one width, filled up."""

    sequence_ids: Tensor
    """(B, W), the number of each token's sequence; fillers have the number of sequences."""
    positions: Tensor
    """(B, W), within each sequence."""
    first_token_indices: Tensor
    """(S,), where each sequence begins among the B·W."""
    places: Tensor
    """(N,), where each token of the sequences laid end to end lies among the B·W."""


def lay_in_bins(lengths: Sequence[int], bins: int, spare: int = 3) -> Bins:
    """Deal the sequences out to bins as wide as the fullest, and `spare` more."""
    width = max(sum(lengths[index::bins]) for index in range(bins)) + spare
    sequence_ids, positions = torch.full((bins, width), len(lengths)), torch.zeros(bins, width, dtype=torch.int64)
    first_token_indices = torch.zeros(len(lengths), dtype=torch.int64)
    ends = [index * width for index in range(bins)]
    places = []
    for number, length in enumerate(lengths):
        at = slice(ends[number % bins], ends[number % bins] + length)
        sequence_ids.view(-1)[at], positions.view(-1)[at] = number, torch.arange(length)
        first_token_indices[number] = at.start
        places.append(torch.arange(at.start, at.stop))
        ends[number % bins] = at.stop
    return Bins(sequence_ids, positions, first_token_indices, torch.cat(places))


def randomise(module: nn.Module, seed: int = 0) -> nn.Module:
    """Weights large enough for a mistake in masks, positions or norms to show; transformers' own are nearly 0."""
    random = torch.Generator().manual_seed(seed)
    for name, parameter in module.named_parameters():
        noise = torch.randn(parameter.shape, generator=random)
        if "norm" in name.lower() and name.endswith("weight"):
            parameter.data = 1.0 + 0.1 * noise
        elif parameter.ndim == 1:
            parameter.data = 0.1 * noise
        elif "embeddings" in name and "project" not in name:
            parameter.data = 0.3 * noise
        else:
            # Queries and keys make attention visibly peaked.
            gain = 1.4 if any(part in name for part in ("query", "key", "q_lin", "k_lin", "q_proj", "k_proj")) else 0.8
            parameter.data = gain / parameter.shape[1] ** 0.5 * noise
    return module.eval().requires_grad_(False)


SIZES: dict[str, Any] = {
    "vocab_size": 200,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "max_position_embeddings": 720,
}


def _bert_like(name: str, **fields: Any) -> Callable[[int], tuple[Any, type[nn.Module], type[nn.Module]]]:
    def make(labels: int) -> tuple[Any, type[nn.Module], type[nn.Module]]:
        import transformers

        config = getattr(transformers, f"{name}Config")(**{**SIZES, **fields}, num_labels=labels)
        return config, getattr(transformers, f"{name}Model"), getattr(transformers, f"{name}ForSequenceClassification")

    return make


_DISTIL = {"dim": 32, "hidden_dim": 48, "n_layers": 3, "n_heads": 4}
_GROUPED = {"num_key_value_heads": 2, "head_dim": 16}
"""Heads that share keys and values, and are together wider than the hidden size."""
_GEMMA3 = {
    **_GROUPED,
    "num_key_value_heads": 1,
    "num_hidden_layers": 4,
    "layer_types": ["sliding_attention", "full_attention", "sliding_attention", "sliding_attention"],
    "sliding_window": 24,
    "query_pre_attn_scalar": 24,
}

ENCODERS = {
    "bert": _bert_like("Bert"),
    "bert-tanh-gelu": _bert_like("Bert", hidden_act="gelu_new", layer_norm_eps=1e-6),
    "electra": _bert_like("Electra", embedding_size=16),
    "electra-unprojected": _bert_like("Electra", embedding_size=32),
    "roberta": _bert_like("Roberta", type_vocab_size=1),
    "roberta-with-types": _bert_like("Roberta", type_vocab_size=2),
    "xlm-roberta": _bert_like("XLMRoberta", type_vocab_size=1, pad_token_id=3),
    "camembert": _bert_like("Camembert", type_vocab_size=1),
    "distilbert": _bert_like("DistilBert", **_DISTIL),
    "distilbert-sinusoidal": _bert_like("DistilBert", **_DISTIL, sinusoidal_pos_embds=True, activation="relu"),
    "modernbert": _bert_like("ModernBert", classifier_pooling="cls", pad_token_id=3),
    "modernbert-mean": _bert_like(
        "ModernBert",
        pad_token_id=3,
        classifier_pooling="mean",
        local_attention=10,
        num_hidden_layers=5,
        global_attn_every_n_layers=2,
        attention_bias=True,
        mlp_bias=True,
        norm_bias=True,
        classifier_bias=True,
        classifier_activation="relu",
    ),
    "gte": _bert_like(
        "Gte", type_vocab_size=2, rope_parameters={"rope_type": "linear", "factor": 1.5, "rope_theta": 800.0}
    ),
    "gte-untyped": _bert_like("Gte", type_vocab_size=0, hidden_act="silu"),
}
DECODERS = {
    "qwen3": _bert_like("Qwen3", **_GROUPED, attention_bias=True),
    "qwen3-both-ways": _bert_like("Qwen3", **_GROUPED, is_causal=False),
    "qwen3-sliding": _bert_like(
        "Qwen3", **_GROUPED, use_sliding_window=True, sliding_window=24, max_window_layers=1, num_hidden_layers=4
    ),
    "qwen2": _bert_like("Qwen2", num_key_value_heads=2),
    "llama": _bert_like(
        "Llama",
        num_key_value_heads=1,
        attention_bias=True,
        mlp_bias=True,
        rope_parameters={
            "rope_type": "llama3",
            "rope_theta": 500.0,
            "factor": 8.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 64,
        },
    ),
    "llama-yarn": _bert_like(
        "Llama",
        rope_parameters={
            "rope_type": "yarn",
            "rope_theta": 10_000.0,
            "factor": 4.0,
            "original_max_position_embeddings": 128,
        },
    ),
    "mistral": _bert_like("Mistral", num_key_value_heads=4, sliding_window=96),
    "mistral-both-ways": _bert_like("Mistral", num_key_value_heads=2, sliding_window=9, is_causal=False),
    "gemma": _bert_like("Gemma", **_GROUPED, hidden_act="gelu"),
    "gemma3": _bert_like("Gemma3Text", **_GEMMA3),
    "gemma3-both-ways": _bert_like("Gemma3Text", **_GEMMA3, use_bidirectional_attention=True),
}
FAMILIES = ENCODERS | DECODERS
"""A configuration and the two classes of transformers for each, by the number of labels."""

TYPED = ("bert", "bert-tanh-gelu", "electra", "electra-unprojected", "roberta-with-types", "gte")


def write_family(name: str, folder: Path, labels: int | None) -> nn.Module:
    """A tiny random checkpoint as transformers writes it, and the model; without labels the bare encoder."""
    config, encoder, classifier = FAMILIES[name](labels or 1)
    model = randomise((classifier if labels else encoder)(config))
    model.save_pretrained(folder)  # type: ignore[operator]
    return model


def write_with_large_states(folder: Path) -> None:
    """A tiny Gemma whose states exceed the largest fp16 number, 65,504, as those of the published ones do."""
    write_family("gemma3-both-ways", folder, labels=None)
    file = folder / "model.safetensors"
    tensors = load_file(file)
    for name, tensor in tensors.items():
        if name.endswith("post_feedforward_layernorm.weight"):
            tensors[name] = torch.full_like(tensor, 1e5)
    save_file(tensors, file, metadata={"format": "pt"})
