"""nomic: v2 MoE against the float64 reference, v1.5 against transformers in both spellings of its files."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file as load_numpy
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from tests.engine.models.flat.support import LENGTHS, randomise, run, sequences, token_types
from tests.engine.models.flat.test_padded import reference
from tests.support.checkpoints import write_checkpoint
from trivet.checkpoint.files import CheckpointMismatch
from trivet.engine.models.flat import experts
from trivet.engine.models.flat.load import FlatModel, load_flat_model

TOLERANCE = {"rtol": 0.0, "atol": 1e-5}


# ── v2 MoE ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def moe_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint("nomic-embed-text-v2-moe", "tiny", tmp_path_factory.mktemp("moe"), seed=3)


@pytest.fixture(scope="module")
def moe(moe_files: Path) -> FlatModel:
    return load_flat_model(moe_files, "embedder")


@pytest.mark.slow
def test_moe_equals_the_float64_reference(moe: FlatModel, moe_files: Path) -> None:
    weights = {name: w.astype(np.float64) for name, w in load_numpy(moe_files / "model.safetensors").items()}
    config = json.loads((moe_files / "config.json").read_text())
    parts = sequences(LENGTHS, vocab_size=1000)
    expected = np.stack([reference(weights, config, part.tolist()).mean(0) for part in parts])
    np.testing.assert_allclose(run(moe, parts).numpy(), expected, **TOLERANCE)
    np.testing.assert_allclose(run(moe, parts[3:4]).numpy(), expected[3:4], **TOLERANCE)


@pytest.mark.slow
def test_every_expert_is_used(moe: FlatModel) -> None:
    chosen: list[Tensor] = []
    of_layer: Any = moe.encoder.layers[1].feed_forward
    hook = of_layer.router.register_forward_hook(lambda _m, _i, out: chosen.append(out.topk(2).indices))
    run(moe, sequences((200,), vocab_size=1000))
    hook.remove()
    assert set(chosen[0].unique().tolist()) == set(range(8)), "the reference test would not see some experts"


@pytest.mark.parametrize("mix", [experts.mix_grouped, experts.mix_all, experts.mix_by_size])
@pytest.mark.parametrize("tokens", [1, 50, experts.ALL_EXPERTS_UP_TO_TOKENS + 1])
def test_all_ways_to_mix_agree(mix: experts.MixExperts, tokens: int) -> None:
    torch.manual_seed(0)
    x, w1, w2 = torch.randn(tokens, 32), torch.randn(8, 48, 32) / 6, torch.randn(8, 48, 32) / 7
    logits = torch.randn(tokens, 8)
    logits[:, [0, 5, 7]] = -torch.inf  # experts without tokens
    shares, chosen = logits.softmax(-1).topk(2)
    looped = experts.mix_one_by_one(x, shares, chosen, w1, w2)
    torch.testing.assert_close(mix(x, shares, chosen, w1, w2), looped, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("capability", "dtype", "waits"),
    [
        ((9, 0), torch.bfloat16, False),
        ((10, 0), torch.bfloat16, False),
        ((9, 0), torch.float16, True),
        ((8, 6), torch.bfloat16, True),
        ((12, 0), torch.bfloat16, True),
    ],
)
def test_where_groups_need_no_wait(capability: tuple[int, int], dtype: torch.dtype, waits: bool) -> None:
    assert experts.groups_without_waiting(capability, dtype) is not waits


@pytest.mark.slow
def test_batches_that_can_be_captured(moe_files: Path) -> None:
    model = load_flat_model(moe_files, "embedder")
    assert model.capturable_tokens is None
    for module in model.modules():
        if isinstance(module, experts.Experts):
            module.mix = experts.mix_by_size
    assert model.capturable_tokens == experts.ALL_EXPERTS_UP_TO_TOKENS


def test_the_router_stays_in_fp32(moe_files: Path) -> None:
    model = load_flat_model(moe_files, "embedder", torch.bfloat16)
    kept = {name for name, parameter in model.named_parameters() if parameter.dtype == torch.float32}
    assert kept == {f"encoder.layers.{index}.feed_forward.router.weight" for index in (1, 3)}


def test_the_published_moe_takes_no_tensor_besides(moe_files: Path, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text((moe_files / "config.json").read_text())
    state = load_file(moe_files / "model.safetensors")
    save_file(state | {"pooler.dense.weight": torch.zeros(2)}, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointMismatch, match=r"unexpected tensors: pooler\.dense\.weight"):
        load_flat_model(tmp_path, "embedder")


# ── v1.5 ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _native() -> nn.Module:
    from transformers import NomicBertConfig, NomicBertModel

    config = NomicBertConfig(
        vocab_size=200,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=3,
        num_attention_heads=4,
        rope_parameters={"rope_type": "default", "rope_theta": 500.0},
    )
    return randomise(NomicBertModel(config))


def _write_native(folder: Path, model: Any) -> None:
    """As transformers 5 names tensors and fields."""
    (folder / "config.json").write_text(json.dumps(model.config.to_dict()))
    save_file({name: tensor.clone() for name, tensor in model.state_dict().items()}, folder / "model.safetensors")


def _write_saved(folder: Path, model: Any) -> None:
    """As transformers 5 saves: its own fields, the published names."""
    model.save_pretrained(folder)


_PUBLISHED_NAMES = {
    "layers.": "encoder.layers.",
    "embeddings.LayerNorm": "emb_ln",
    "self_attn.o_proj": "attn.out_proj",
    "up_proj": "fc11",
    "gate_proj": "fc12",
    "down_proj": "fc2",
    "post_attention_layernorm": "norm1",
    "post_mlp_layernorm": "norm2",
}
_PUBLISHED_CONFIG = {
    "activation_function": "swiglu",
    "causal": False,
    "layer_norm_epsilon": 1e-12,
    "max_trained_positions": 2048,
    "mlp_fc1_bias": False,
    "mlp_fc2_bias": False,
    "model_type": "nomic_bert",
    "n_embd": 32,
    "n_head": 4,
    "n_inner": 48,
    "n_layer": 3,
    "n_positions": 8192,
    "pad_vocab_size_multiple": 8,
    "prenorm": False,
    "qkv_proj_bias": False,
    "rotary_emb_base": 500,
    "rotary_emb_fraction": 1.0,
    "rotary_emb_interleaved": False,
    "rotary_emb_scale_base": None,
    "rotary_scaling_factor": None,
    "type_vocab_size": 2,
    "use_rms_norm": False,
    "vocab_size": 199,
}


def _write_published(folder: Path, model: Any) -> None:
    """As nomic-embed-text-v1.5 is published."""
    state = {}
    for name, tensor in model.state_dict().items():
        for new, old in _PUBLISHED_NAMES.items():
            name = name.replace(new, old, 1) if new in name else name
        state[name] = tensor.clone()
    for index in range(3):
        layer = f"encoder.layers.{index}"
        joint = torch.cat([state.pop(f"{layer}.self_attn.{each}_proj.weight") for each in "qkv"])
        state[f"{layer}.attn.Wqkv.weight"] = joint
    (folder / "config.json").write_text(json.dumps(_PUBLISHED_CONFIG))
    save_file(state, folder / "model.safetensors")


@pytest.mark.slow
@pytest.mark.parametrize("write", [_write_native, _write_saved, _write_published])
def test_dense_equals_transformers(write: Callable[[Path, nn.Module], None], tmp_path: Path) -> None:
    plain = _native()
    write(tmp_path, plain)
    model, parts = load_flat_model(tmp_path, "embedder"), sequences(LENGTHS)
    types = [token_types(part) for part in parts]
    with torch.inference_mode():
        untyped = torch.cat([plain(part[None]).last_hidden_state.mean(1) for part in parts])
        typed = torch.cat(
            [
                plain(part[None], token_type_ids=each[None]).last_hidden_state.mean(1)
                for part, each in zip(parts, types, strict=True)
            ]
        )
    torch.testing.assert_close(run(model, parts), untyped, **TOLERANCE)
    torch.testing.assert_close(run(model, parts, types), typed, **TOLERANCE)
    assert model.max_tokens == 2048
