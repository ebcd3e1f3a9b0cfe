"""The models of the engine benchmark: the three flagship shapes and one small model with real weights.

A shape defines its checkpoint, its workload and the cost of one sequence. FLOPs are those of the mathematics: linear
layers and attention over the tokens of one sequence, without padding, with only the experts to which a token is routed
and only the keys that a local layer may see. So they are the same for every contender.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.support.checkpoints import Kind, write_checkpoint
from trivet.checkpoint.architecture import Architecture
from trivet.config import Task
from trivet.starter import prepare_starter


@dataclass(frozen=True, slots=True)
class Shape:
    """One model of the benchmark. `kind` None: the starter embedder, real weights from its package."""

    name: str
    task: Task
    kind: Kind | None
    max_tokens: int
    """Tokens of the workload's longest sequence; no contender cuts it."""
    clients: int
    """Calls in flight."""

    def directory(self, checkpoints: Path) -> Path:
        """Return the checkpoint's directory; write it below `checkpoints` if it does not exist."""
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
        """Count multiplications and additions, each as one."""
        attention = sum(4 * hidden * tokens * min(tokens, keys or tokens) for hidden, keys in self.attention_widths)
        return self.per_token * tokens + attention

    def flops(self, lengths: Sequence[int]) -> float:
        """Sum up the cost of several sequences."""
        return sum(self.flop(tokens) for tokens in lengths)


def read_cost(directory: Path) -> Cost:
    """Derive the cost of a checkpoint from its config.json.

    Raises:
        ValueError: the model type is none of the benchmark's.
    """
    architecture = Architecture.read(directory)
    config, model_type = architecture.config, architecture.model_type
    if model_type not in ("nomic_bert", "modernbert", "xlm-roberta", "bert"):
        raise ValueError(f"no cost is known for {model_type}")
    hidden, inner, layers = architecture.hidden_size, architecture.intermediate_size, architecture.layers
    widths: tuple[tuple[int, int | None], ...] = ((hidden, None),) * layers
    matrices = 2 * layers  # of feed-forward blocks, that one token passes through
    router = 0
    if model_type == "nomic_bert":
        sparse = layers // config["moe_every_n_layers"]
        matrices += 2 * sparse * (config["moe_top_k"] - 1)
        router = sparse * config["num_experts"] * hidden
    elif model_type == "modernbert":  # a gated MLP has a third matrix; two layers of three are local
        matrices = 3 * layers
        window, every = config["local_attention"] + 1, config["global_attn_every_n_layers"]
        widths = tuple((hidden, None if layer % every == 0 else window) for layer in range(layers))
    return Cost(2.0 * (layers * 4 * hidden * hidden + matrices * hidden * inner + router), widths)
