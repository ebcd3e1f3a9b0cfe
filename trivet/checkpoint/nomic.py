"""The configuration of nomic-embed-text-v2-moe, checked field by field.

Its config.json says ``model_type: nomic_bert`` with GPT-2 style names, and leaves the meaning of each field to remote
code. :class:`NomicMoeConfig` keeps the fields that set a dimension. A field that chooses a formula is refused unless it
has the value that :mod:`trivet.engine.models.flat.experts` implements.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from trivet.checkpoint.files import CheckpointMismatch

FORMULA: Mapping[str, tuple[Any, ...]] = {
    "causal": (False,),
    "parallel_block": (False,),
    "parallel_block_tied_norm": (False,),
    "prenorm": (False,),
    "rotary_emb_interleaved": (False,),
    "rotary_emb_scale_base": (None,),
    "rotary_scaling_factor": (None,),
    "scale_attn_by_inverse_layer_idx": (False,),
    "scale_attn_weights": (True,),
    "use_rms_norm": (False, None),
}
"""What the remote code of every nomic encoder branches on, and the values implemented; an absent field means one."""

_REQUIRED_SIZES = (
    "vocab_size",
    "n_embd",
    "n_head",
    "n_inner",
    "n_layer",
    "num_experts",
    "moe_top_k",
    "moe_every_n_layers",
    "max_trained_positions",
)

# Field → values that this implementation computes. The first group is required, because the remote code's default for a
# missing field is another formula. The second group may be missing: its defaults are implemented.
_PINNED_REQUIRED: dict[str, tuple[Any, ...]] = {
    "activation_function": ("gelu",),
    "rotary_emb_fraction": (1.0,),
    "type_vocab_size": (1,),
}
_PINNED_OPTIONAL: dict[str, tuple[Any, ...]] = {
    **FORMULA,
    "add_pooling_layer": (False,),
    "expert_choice_router": (False,),
    "ffn_div": (1,),
    "mlp_fc1_bias": (True,),
    "mlp_fc2_bias": (True,),
    "moe_normalize_expert_weights": (False, None),
    "num_shared_experts": (0, None),
    "qkv_proj_bias": (True,),
    "tie_word_embeddings": (True, False),
}


def is_nomic_moe(config: Mapping[str, Any]) -> bool:
    """Whether a config.json describes the architecture, which transformers would silently load wrong."""
    return config.get("model_type") == "nomic_bert" and bool(config.get("num_experts"))


@dataclass(frozen=True)
class NomicMoeConfig:
    """Dimensions of a nomic-embed-text-v2-moe checkpoint."""

    vocab_size: int
    hidden_size: int
    heads: int
    inner_size: int
    layers: int
    experts: int
    experts_per_token: int
    moe_every_n_layers: int
    max_positions: int
    layer_norm_eps: float
    rotary_base: float

    @property
    def head_size(self) -> int:
        """Channels of one attention head."""
        return self.hidden_size // self.heads

    def is_moe_layer(self, index: int) -> bool:
        """Whether layer ``index`` (from 0) has experts: the odd ones where ``moe_every_n_layers`` is 2."""
        return index % self.moe_every_n_layers == 1

    @classmethod
    def from_json(cls, config: Mapping[str, Any]) -> Self:
        """Read and check the fields of config.json.

        Raises:
            CheckpointMismatch: fields are missing, malformed, contradict each other or ask for another formula;
                the message names all of them.
        """
        problems = [*_missing(config), *_malformed(config), *_contradicting(config)]
        if problems:
            raise CheckpointMismatch("config.json is not a nomic v2 MoE that Trivet computes: " + "; ".join(problems))
        multiple = config.get("pad_vocab_size_multiple") or 1
        parsed = cls(
            vocab_size=-(-config["vocab_size"] // multiple) * multiple,
            hidden_size=config["n_embd"],
            heads=config["n_head"],
            inner_size=config["n_inner"],
            layers=config["n_layer"],
            experts=config["num_experts"],
            experts_per_token=config["moe_top_k"],
            moe_every_n_layers=config["moe_every_n_layers"],
            max_positions=config["max_trained_positions"],
            layer_norm_eps=float(config["layer_norm_epsilon"]),
            rotary_base=float(config["rotary_emb_base"]),
        )
        parsed._check_relations()
        return parsed

    def _check_relations(self) -> None:
        problems = []
        if self.hidden_size % (2 * self.heads):
            problems.append(f"n_embd {self.hidden_size} does not give {self.heads} heads (n_head) of even size")
        if self.experts_per_token > self.experts:
            problems.append(f"moe_top_k {self.experts_per_token} exceeds num_experts {self.experts}")
        if self.moe_every_n_layers < 2:
            problems.append(f"moe_every_n_layers {self.moe_every_n_layers} leaves no layer with experts")
        if problems:
            raise CheckpointMismatch("config.json contradicts itself: " + "; ".join(problems))


def _missing(config: Mapping[str, Any]) -> list[str]:
    required = (*_REQUIRED_SIZES, "layer_norm_epsilon", "rotary_emb_base", *_PINNED_REQUIRED)
    return [f"{name} is missing" for name in required if name not in config]


def _malformed(config: Mapping[str, Any]) -> list[str]:
    sizes = [name for name in (*_REQUIRED_SIZES, "pad_vocab_size_multiple") if name in config]
    problems = [
        f"{name} is {config[name]!r}, not a positive whole number" for name in sizes if not _is_size(config[name])
    ]
    for name in ("layer_norm_epsilon", "rotary_emb_base"):
        value = config.get(name, 1.0)
        if isinstance(value, bool) or not isinstance(value, int | float) or value <= 0:
            problems.append(f"{name} is {value!r}, not a positive number")
    return problems


def _is_size(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _contradicting(config: Mapping[str, Any]) -> list[str]:
    return [
        f"{name} is {config[name]!r}, only {' or '.join(map(repr, allowed))} is implemented"
        for name, allowed in {**_PINNED_REQUIRED, **_PINNED_OPTIONAL}.items()
        if name in config and config[name] not in allowed
    ]
