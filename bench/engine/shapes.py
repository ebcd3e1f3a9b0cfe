"""What the engine benchmark runs on: the three flagship shapes and one small model with real weights.

A shape says where its checkpoint comes from, how work reaches it and what one sequence costs. FLOPs are those of the
mathematics (linear layers and attention over the tokens of one sequence, no padding, only the experts that a token is
sent to, only the keys that a local layer may see), so that they are the same for every contender.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.checkpoints import Kind, write_checkpoint
from trivet.config import Task
from trivet.starter import prepare_starter


@dataclass(frozen=True, slots=True)
class Shape:
    """One model of the benchmark. `kind` None: the starter embedder, real weights from its package."""

    name: str
    task: Task
    kind: Kind | None
    max_tokens: int
    """Longest sequence of the workload; every contender takes it whole."""
    clients: int
    """Calls in flight."""

    def directory(self, checkpoints: Path) -> Path:
        """The checkpoint, written below `checkpoints` if it is not there yet."""
        if self.kind is None:
            return prepare_starter("embedder", checkpoints)
        path = checkpoints / self.kind
        if not (path / "model.safetensors").is_file():
            write_checkpoint(self.kind, "full", path)
        return path


SHAPES: dict[str, Shape] = {
    shape.name: shape
    for shape in (
        Shape("bge-reranker-base", "reranker", "bge-reranker-base", 512, clients=8),
        Shape("ModernBERT-large", "classifier", "ModernBERT-large-zeroshot-v2.0", 8000, clients=8),
        Shape("nomic-v2-moe", "embedder", "nomic-embed-text-v2-moe", 512, clients=8),
        Shape("MiniLM-L6", "embedder", None, 256, clients=8),
    )
}


@dataclass(frozen=True, slots=True)
class Cost:
    """FLOPs of one sequence as a function of its tokens."""

    per_token: float
    """Of all linear layers."""
    attention_widths: tuple[tuple[int, int | None], ...]
    """Per layer: hidden size, and how many keys a query may see (None: all of them)."""

    def flop(self, tokens: int) -> float:
        """Multiplications and additions, each counted."""
        attention = sum(4 * hidden * tokens * min(tokens, keys or tokens) for hidden, keys in self.attention_widths)
        return self.per_token * tokens + attention

    def flops(self, lengths: Sequence[int]) -> float:
        """Of several sequences."""
        return sum(self.flop(tokens) for tokens in lengths)


def read_cost(directory: Path) -> Cost:
    """The cost of a checkpoint, from its config.json.

    Raises:
        ValueError: the model type is none of the benchmark's.
    """
    config: dict[str, Any] = json.loads((directory / "config.json").read_text(encoding="utf-8"))
    model_type = config["model_type"]
    if model_type == "nomic_bert":
        hidden, inner, layers = config["n_embd"], config["n_inner"], config["n_layer"]
        sparse = layers // config["moe_every_n_layers"]
        dense_mlps = (layers - sparse) + sparse * config["moe_top_k"]
        weights = layers * 4 * hidden * hidden + dense_mlps * 2 * hidden * inner
        weights += sparse * config["num_experts"] * hidden  # the router
        return Cost(2.0 * weights, ((hidden, None),) * layers)
    if model_type not in ("modernbert", "xlm-roberta", "bert"):
        raise ValueError(f"no cost is known for {model_type}")
    hidden, inner, layers = config["hidden_size"], config["intermediate_size"], config["num_hidden_layers"]
    if model_type == "modernbert":  # a gated MLP has a third matrix; two layers of three are local
        window = config["local_attention"] + 1
        every = config["global_attn_every_n_layers"]
        widths = tuple((hidden, None if layer % every == 0 else window) for layer in range(layers))
        return Cost(2.0 * layers * (4 * hidden * hidden + 3 * hidden * inner), widths)
    return Cost(2.0 * layers * (4 * hidden * hidden + 2 * hidden * inner), ((hidden, None),) * layers)
