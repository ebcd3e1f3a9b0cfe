"""What the config.json of a nomic v2 MoE may say: every field that asks for another formula is refused by name."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.checkpoints import write_checkpoint
from trivet.checkpoint.files import CheckpointMismatch
from trivet.checkpoint.nomic import NomicMoeConfig


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder: Path = write_checkpoint("nomic-embed-text-v2-moe", "tiny", tmp_path_factory.mktemp("nomic"))
    parsed: dict[str, Any] = json.loads((folder / "config.json").read_text())
    return parsed


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("activation_function", "swiglu"),
        ("add_pooling_layer", True),
        ("causal", True),
        ("expert_choice_router", True),
        ("ffn_div", 2),
        ("mlp_fc1_bias", False),
        ("mlp_fc2_bias", False),
        ("moe_normalize_expert_weights", True),
        ("num_shared_experts", 1),
        ("parallel_block", True),
        ("parallel_block_tied_norm", True),
        ("prenorm", True),
        ("qkv_proj_bias", False),
        ("rotary_emb_fraction", 0.5),
        ("rotary_emb_interleaved", True),
        ("rotary_emb_scale_base", 512),
        ("rotary_scaling_factor", 2.0),
        ("scale_attn_by_inverse_layer_idx", True),
        ("scale_attn_weights", False),
        ("type_vocab_size", 2),
        ("use_rms_norm", True),
    ],
)
def test_a_field_that_asks_for_another_formula_is_refused(config: dict[str, Any], field: str, value: Any) -> None:
    with pytest.raises(CheckpointMismatch, match=rf"{field} is {value!r}"):
        NomicMoeConfig.from_json(config | {field: value})


@pytest.mark.parametrize(
    "field",
    [
        "vocab_size", "n_embd", "n_head", "n_inner", "n_layer", "num_experts", "moe_top_k", "moe_every_n_layers",
        "max_trained_positions", "layer_norm_epsilon", "rotary_emb_base", "activation_function",
        "rotary_emb_fraction", "type_vocab_size",
    ],
)  # fmt: skip
def test_a_field_whose_absence_means_something_else_is_required(config: dict[str, Any], field: str) -> None:
    with pytest.raises(CheckpointMismatch, match=f"{field} is missing"):
        NomicMoeConfig.from_json({name: value for name, value in config.items() if name != field})


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"n_layer": 0}, "n_layer is 0"),
        ({"n_embd": "64"}, "n_embd is '64'"),
        ({"num_experts": True}, "num_experts is True"),
        ({"layer_norm_epsilon": 0}, "layer_norm_epsilon is 0"),
        ({"n_head": 5}, "5 heads"),
        ({"moe_top_k": 9}, "moe_top_k 9 exceeds num_experts 8"),
        ({"moe_every_n_layers": 1}, "moe_every_n_layers 1"),
    ],
)
def test_malformed_sizes_are_refused(config: dict[str, Any], fields: dict[str, Any], named: str) -> None:
    with pytest.raises(CheckpointMismatch, match=named):
        NomicMoeConfig.from_json(config | fields)
