"""The structure of an encoder as its config.json states it, with one name for each fact.

Families of models call the same size by different names, and count positions in different ways. This module is the only
one that knows. `trivet.checkpoint.description` adds what the other files of a checkpoint say.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from trivet.checkpoint.files import read_config
from trivet.errors import ModelError

DECODERS = frozenset(
    {
        "bloom", "cohere", "cohere2", "falcon", "gemma", "gemma2", "gemma3", "gemma3_text", "gpt2", "gpt_neo",
        "gpt_neox", "gpt_oss", "granite", "llama", "llama_bidirec", "ministral", "mistral", "mixtral", "olmo", "olmo2",
        "opt", "phi", "phi3", "qwen2", "qwen2_moe", "qwen3", "qwen3_moe", "smollm3", "stablelm", "starcoder2",
    }
)  # fmt: skip
"""Families of causal language models."""

_GATED = frozenset(
    {
        "cohere", "cohere2", "embedding_gemma2", "eurobert", "gemma", "gemma2", "gemma3", "gemma3_text", "granite",
        "gte", "llama", "llama_bidirec", "ministral", "mistral", "mixtral", "modernbert", "new",
        "olmo", "olmo2", "phi3", "qwen2", "qwen2_moe", "qwen3", "qwen3_moe", "smollm3",
    }
)  # fmt: skip
"""Families whose feed-forward blocks have two input projections."""

POSITIONS_AFTER_PADDING = frozenset({"roberta", "xlm-roberta", "camembert", "xlm-roberta-xl", "mpnet", "longformer"})
"""Model types whose first token has the position after the padding id, so that 514 positions hold 512 tokens."""


@dataclass(frozen=True, slots=True)
class Architecture:
    """Facts about one encoder. A fact is looked up when it is read, since unusual models state only some of them.

    Properties of type `int` raise `ModelError` with the names of the missing fields; others are None or empty.
    """

    name: str
    """Name of the checkpoint, for messages."""
    config: Mapping[str, Any] = field(repr=False)
    """The content of config.json."""

    @classmethod
    def read(cls, model_dir: Path) -> Self:
        """Read the config.json of a checkpoint.

        Raises:
            ModelError: the file is missing or does not hold a JSON object.
        """
        return cls(model_dir.name, read_config(model_dir))

    @property
    def model_type(self) -> str:
        """The family, as transformers names it; empty if not stated."""
        return str(self.config.get("model_type", ""))

    @property
    def hidden_size(self) -> int:
        """Features of one token."""
        return self._size("hidden_size", "n_embd", "dim", "d_model")

    @property
    def intermediate_size(self) -> int:
        """Features inside a feed-forward block."""
        return self._size("intermediate_size", "n_inner", "hidden_dim", "encoder_ffn_dim")

    @property
    def layers(self) -> int:
        """Layers of the encoder."""
        return self._size("num_hidden_layers", "n_layer", "n_layers", "encoder_layers")

    @property
    def heads(self) -> int:
        """Attention heads of one layer."""
        return self._size("num_attention_heads", "n_head", "n_heads", "encoder_attention_heads")

    @property
    def vocab_size(self) -> int:
        """Entries of the vocabulary."""
        return self._size("vocab_size")

    @property
    def pad_id(self) -> int | None:
        """Id of the padding token."""
        pad_id = self.config.get("pad_token_id")
        return None if pad_id is None else int(pad_id)

    @property
    def token_types(self) -> int:
        """How many token types the model distinguishes; 0 if it has none."""
        return int(self.config.get("type_vocab_size") or 0)

    @property
    def first_position(self) -> int:
        """Position of a sequence's first token in the table of positions."""
        if self.model_type not in POSITIONS_AFTER_PADDING:
            return 0
        return (1 if self.pad_id is None else self.pad_id) + 1

    @property
    def max_tokens(self) -> int | None:
        """Tokens of the longest sequence that the encoder can read; None if not stated."""
        positions = self._stated("max_position_embeddings", "n_positions")
        trained = self._stated("max_trained_positions")
        limits = [
            *([] if positions is None else [positions - self.first_position]),
            *([] if trained is None else [trained]),
        ]
        return min(limits, default=None)

    @property
    def has_absolute_positions(self) -> bool:
        """Whether a BERT adds a learned position to each token, as most do, instead of to pairs of tokens."""
        return bool(self.config.get("position_embedding_type", "absolute") == "absolute")

    @property
    def is_decoder(self) -> bool:
        """Whether tokens see only the tokens before them."""
        return bool(self.config.get("is_decoder"))

    @property
    def has_gated_mlp(self) -> bool:
        """Whether a feed-forward block has two input projections (GeGLU, SwiGLU)."""
        if self.model_type == "nomic_bert":
            usual = "gelu" if self.config.get("num_experts") else "swiglu"
            return bool(self.config.get("activation_function", usual) == "swiglu")
        return self.model_type in _GATED or self.config.get("feed_forward_type") == "geglu"

    @property
    def has_disentangled_attention(self) -> bool:
        """Whether attention scores have positional terms of their own, for which no fused kernel exists."""
        return self.model_type.startswith("deberta")

    @property
    def labels(self) -> dict[str, int]:
        """Label → index of the classification head; empty if there is none."""
        return {str(label): int(index) for index, label in (self.config.get("id2label") or {}).items()}

    @property
    def is_causal_family(self) -> bool:
        """Whether the model is of a family of causal language models, even if this one attends both ways."""
        return self.model_type in DECODERS

    @property
    def token_vector_size(self) -> int:
        """Features of a token where pooling reads it: the hidden size, unless the model projects its last layer."""
        if self.projects_tokens:
            return self._size("num_labels")
        return self._size("embedding_dim") if self.model_type == "embedding_gemma2" else self.hidden_size

    @property
    def projects_tokens(self) -> bool:
        """Whether the model's file holds a layer `linear` behind the encoder (voyage-4-nano)."""
        return self.architecture_name == "VoyageQwen3BidirectionalEmbedModel"

    @property
    def architecture_name(self) -> str:
        """The class that wrote the checkpoint; empty if not stated."""
        return str((self.config.get("architectures") or [""])[0])

    @property
    def scores_by_words(self) -> bool:
        """Whether the checkpoint is a causal language model, whose scores are logits of words."""
        return self.architecture_name.endswith("ForCausalLM")

    @property
    def outputs(self) -> int:
        """Outputs of a classification head, as transformers counts them: two where config.json names none."""
        if self.labels:
            return len(self.labels)
        return self._stated("num_labels", "_num_labels") or 2

    def _size(self, *names: str) -> int:
        size = self._stated(*names)
        if size is None:
            raise ModelError(f"{self.name}: config.json states no {' or '.join(names)}")
        return size

    def _stated(self, *names: str) -> int | None:
        """The first of these fields that holds a positive whole number; a nested text model states them itself."""
        nested = self.config.get("text_config")
        places = (self.config, nested) if isinstance(nested, dict) else (self.config,)
        for value in (place.get(name) for place in places for name in names):
            if isinstance(value, int) and not isinstance(value, bool) and value > 0:
                return value
        return None
