"""Each setting of a config.json, changed: the result is transformers' own for the changed one, or it is refused.

A setting that changes nothing here would be one that is not read.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.checkpoint.flat.test_decoders import SIZES
from tests.engine.models.flat.support import run, sequences, write_family
from trivet.checkpoint.flat.fields import UnsupportedArchitecture
from trivet.checkpoint.flat.model import padded_because
from trivet.engine.models.flat.load import load_flat_model

LENGTHS = (1, 5, 130, 12, 300)
_LLAMA3 = {"low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 64}


def _rope(kind: str, **fields: Any) -> dict[str, Any]:
    return {"rope_parameters": {"rope_type": kind, "rope_theta": 10_000.0, **fields}}


def _of_kinds(**fields: Any) -> dict[str, Any]:
    kinds = {kind: {"rope_type": "default", "rope_theta": 10_000.0} for kind in ("full_attention", "sliding_attention")}
    return {"rope_parameters": {**kinds, **fields}}


_FINE: tuple[Mapping[str, Any], ...] = (
    _rope("llama3", factor=8.0, **(_LLAMA3 | {"low_freq_factor": 0.5})),
    _rope("llama3", factor=8.0, **(_LLAMA3 | {"high_freq_factor": 12.0})),
    _rope("llama3", factor=8.0, **(_LLAMA3 | {"original_max_position_embeddings": 16})),
    _rope("yarn", factor=4.0),
    _rope("yarn", factor=4.0, original_max_position_embeddings=64, beta_fast=4.0),
    _rope("yarn", factor=4.0, original_max_position_embeddings=64, beta_slow=0.25),
    _rope("yarn", factor=4.0, original_max_position_embeddings=64, attention_factor=0.5),
    _rope("yarn", factor=0.5, original_max_position_embeddings=64),
)
"""Details of two forms of rotary positions, which the same code reads and computes for every decoder."""
_OF_ALL: tuple[Mapping[str, Any], ...] = (
    {"rms_norm_eps": 0.1},
    {"is_causal": False},
    _rope("default", rope_theta=100.0),
    _rope("linear", factor=4.0),
    _rope("llama3", factor=8.0, **_LLAMA3),
    _rope("yarn", factor=4.0, original_max_position_embeddings=64),
    *_FINE,
)
_SLIDING = {"use_sliding_window": True, "sliding_window": 16}
_KINDS = {"layer_types": ["sliding_attention", "full_attention", "sliding_attention"]}

CHANGED: dict[str, tuple[Mapping[str, Any], ...]] = {
    "llama": (*_OF_ALL, {"hidden_act": "gelu"}),
    "qwen2": (
        *_OF_ALL,
        _SLIDING | {"max_window_layers": 0, "layer_types": None},
        _SLIDING | _KINDS,
        _SLIDING | _KINDS | {"is_causal": False},
    ),
    "qwen3": (
        *_OF_ALL,
        {"hidden_act": "relu"},
        _SLIDING | {"max_window_layers": 2, "layer_types": None},
        _SLIDING | {"max_window_layers": 0, "layer_types": None, "sliding_window": 1},
    ),
    "mistral": (
        *_OF_ALL,
        {"sliding_window": None},
        {"sliding_window": 1},
        {"sliding_window": 16},
        {"sliding_window": 16, "is_causal": False},
        {"sliding_window": 1, "is_causal": False},
    ),
    "gemma": (*_OF_ALL, {"hidden_act": "silu"}),
    "gemma3": (
        {"rms_norm_eps": 0.1},
        {"use_bidirectional_attention": True},
        {"hidden_activation": "silu"},
        {"query_pre_attn_scalar": 100},
        {"sliding_window": 1},
        {"sliding_window": 60},
        {"layer_types": ["full_attention"] * 4},
        {"layer_types": None, "_sliding_window_pattern": None, "sliding_window_pattern": 2},
        _of_kinds(sliding_attention={"rope_type": "default", "rope_theta": 50.0}),
        _of_kinds(full_attention={"rope_type": "linear", "rope_theta": 10_000.0, "factor": 8.0}),
        _of_kinds(full_attention={"rope_type": "llama3", "rope_theta": 500.0, "factor": 8.0, **_LLAMA3}),
        _of_kinds(full_attention={"rope_type": "yarn", "rope_theta": 500.0, "factor": 8.0}),
    ),
    "gemma3-both-ways": ({"sliding_window": 2}, {"sliding_window": 60}, {"use_bidirectional_attention": False}),
    "gte": (
        {"hidden_act": "relu"},
        {"layer_norm_eps": 0.1},
        _rope("default", rope_theta=100.0),
        _rope("linear", factor=4.0),
        _rope("yarn", factor=4.0, original_max_position_embeddings=64),
        _rope("llama3", factor=8.0, **_LLAMA3),
    ),
}  # fmt: skip
"""Family → changes of its config.json that are computed."""


def _reference(folder: Path, parts: list[Tensor]) -> Tensor:
    from transformers import AutoModel

    model = AutoModel.from_pretrained(folder).eval()
    with torch.inference_mode():
        return torch.cat([model(part[None], use_cache=False).last_hidden_state.mean(1) for part in parts])


def _set(folder: Path, fields: Mapping[str, Any]) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | dict(fields)))


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folders = {family: tmp_path_factory.mktemp(family) for family in CHANGED}
    for family, folder in folders.items():
        write_family(family, folder, labels=None)
    return folders


def _is_covered_by_llama(family: str, fields: Mapping[str, Any]) -> bool:
    return family != "llama" and any(fields is fine for fine in _FINE)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("family", "fields"),
    [
        pytest.param(
            family,
            fields,
            id=f"{family}-{json.dumps(fields)[:80]}",
            marks=pytest.mark.models if _is_covered_by_llama(family, fields) else (),
        )
        for family, changes in CHANGED.items()
        for fields in changes
    ],
)
def test_a_changed_setting_gives_transformers_result(
    written: dict[str, Path], family: str, fields: Mapping[str, Any], tmp_path: Path
) -> None:
    folder, parts = written[family], sequences(LENGTHS)
    before = run(load_flat_model(folder, "embedder"), parts)
    (tmp_path / "model.safetensors").symlink_to(folder / "model.safetensors")
    (tmp_path / "config.json").write_text((folder / "config.json").read_text())
    _set(tmp_path, fields)
    expected = _reference(tmp_path, parts)
    found = run(load_flat_model(tmp_path, "embedder"), parts)
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-5)
    assert (found - before).abs().max() > 1e-3, "the setting must matter for this test to mean much"


@pytest.mark.parametrize(
    ("family", "fields"),
    [
        ("llama", {"rope_parameters": {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0}}),
        ("llama", {"partial_rotary_factor": 0.5}),
        ("qwen3", {"hidden_act": "mish"}),
        ("gemma3_text", {"attn_logit_softcapping": 5.0}),
        ("gte", {"rope_parameters": {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0}}),
    ],
)
def test_what_is_not_computed_keeps_the_path_through_transformers(
    family: str, fields: Mapping[str, Any], tmp_path: Path
) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": family, **SIZES} | dict(fields)))
    reason = padded_because(tmp_path, "embedder")
    assert reason is not None
    with pytest.raises(UnsupportedArchitecture) as caught:
        load_flat_model(tmp_path, "embedder")
    assert caught.value.message == reason
