"""Strict loading: what is refused by name, what may be there, and where tensors end up."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from tests.engine.models.flat.support import run, sequences, write_family
from trivet.checkpoint.files import CheckpointMismatch
from trivet.engine.models.flat.load import load_flat_model
from trivet.errors import ModelError

State = dict[str, Tensor]


def check_same(outputs: torch.Tensor, expected: torch.Tensor) -> None:
    """Compare but for rounding: equal weights at other addresses are summed up in another order by some processors."""
    torch.testing.assert_close(outputs, expected, rtol=1e-5, atol=1e-5)


@pytest.fixture
def rewritten(tmp_path: Path) -> Callable[..., Path]:
    """A family's reranker, its tensors passed through a function and its config fields replaced."""

    def write(family: str, change: Callable[[State], State] = lambda state: state, **config: Any) -> Path:
        write_family(family, tmp_path, labels=1)
        save_file(change(load_file(tmp_path / "model.safetensors")), tmp_path / "model.safetensors")
        fields = json.loads((tmp_path / "config.json").read_text())
        (tmp_path / "config.json").write_text(json.dumps(fields | config))
        return tmp_path

    return write


def _without(*names: str) -> Callable[[State], State]:
    return lambda state: {name: tensor for name, tensor in state.items() if name not in names}


def _with(name: str, tensor: Tensor) -> Callable[[State], State]:
    return lambda state: {**state, name: tensor}


# ── refusals ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("family", "change", "named"),
    [
        ("bert", _without("bert.pooler.dense.bias"), r"missing tensors: pooler\.dense\.bias"),
        (
            "bert",
            _without("bert.encoder.layer.1.attention.self.key.weight"),
            r"missing tensors: encoder\.layer\.1\.attention\.self\.key\.weight",
        ),
        ("roberta", _without("classifier.out_proj.weight"), r"missing tensors: classifier\.out_proj\.weight"),
        ("distilbert", _without("pre_classifier.weight"), r"missing tensors: pre_classifier\.weight"),
        ("modernbert", _without("model.layers.2.attn_norm.weight"), r"missing tensors: layers\.2\.attn_norm\.weight"),
        (
            "xlm-roberta",
            _with("roberta.encoder.layer.0.adapter.weight", torch.zeros(2)),
            r"unexpected tensors: roberta\.encoder\.layer\.0\.adapter\.weight",
        ),
        # The first layer of ModernBERT reads embeddings that are normed: with one more norm it is another architecture.
        (
            "modernbert",
            _with("model.layers.0.attn_norm.weight", torch.ones(32)),
            r"unexpected tensors: model\.layers\.0\.attn_norm\.weight",
        ),
        (
            "bert",
            _with("bert.encoder.layer.0.attention.self.query.weight", torch.zeros(16, 32)),
            r"bert\.encoder\.layer\.0\.attention\.self\.query\.weight is \(16, 32\), config\.json says \(32, 32\)",
        ),
        (
            "bert",
            _with("classifier.weight", torch.zeros(1, 32, dtype=torch.int8)),
            r"not floating point: classifier\.weight is I8",
        ),
        (
            "bert",
            _with("bert.embeddings.LayerNorm.weight", torch.zeros(32, dtype=torch.float8_e4m3fn)),
            r"not floating point: bert\.embeddings\.LayerNorm\.weight is F8_E4M3",
        ),
        (
            "bert",
            _with("embeddings.LayerNorm.weight", torch.zeros(32)),
            r"twice the same tensor: .*bert\.embeddings\.LayerNorm\.weight",
        ),
    ],
)
def test_tensors_that_do_not_fit_are_named(
    rewritten: Callable[..., Path], family: str, change: Callable[[State], State], named: str
) -> None:
    with pytest.raises(CheckpointMismatch, match=named):
        load_flat_model(rewritten(family, change), "reranker")


def test_sizes_that_contradict_the_config_are_named(rewritten: Callable[..., Path]) -> None:
    folder = rewritten("electra", intermediate_size=64)
    with pytest.raises(CheckpointMismatch, match=r"intermediate\.dense\.bias is \(48,\), config\.json says \(64,\)"):
        load_flat_model(folder, "reranker")


def test_more_layers_than_the_file_holds_are_missing_tensors(rewritten: Callable[..., Path]) -> None:
    with pytest.raises(CheckpointMismatch, match=r"missing tensors: encoder\.layer\.3\..* and 8 more"):
        load_flat_model(rewritten("bert", num_hidden_layers=4), "reranker")


def test_fewer_layers_than_the_file_holds_are_unexpected_tensors(rewritten: Callable[..., Path]) -> None:
    with pytest.raises(CheckpointMismatch, match=r"unexpected tensors: bert\.encoder\.layer\.2\."):
        load_flat_model(rewritten("bert", num_hidden_layers=2), "reranker")


def test_another_number_of_labels_is_a_wrong_shape(rewritten: Callable[..., Path]) -> None:
    folder = rewritten("roberta", id2label={"0": "no", "1": "yes"})
    with pytest.raises(CheckpointMismatch, match=r"classifier\.out_proj\.weight is \(1, 32\), .* \(2, 32\)"):
        load_flat_model(folder, "reranker")


def test_an_encoder_without_a_head_is_not_a_reranker(tmp_path: Path) -> None:
    write_family("bert", tmp_path, labels=None)
    with pytest.raises(CheckpointMismatch, match=r"missing tensors: classifier\.bias, classifier\.weight"):
        load_flat_model(tmp_path, "reranker")


def test_a_pickle_is_refused_by_name(rewritten: Callable[..., Path]) -> None:
    folder = rewritten("bert")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(ModelError, match=r"pytorch_model\.bin is a pickle"):
        load_flat_model(folder, "reranker")


def test_what_is_not_a_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="nowhere is not a directory"):
        load_flat_model(tmp_path / "nowhere", "embedder")


def test_an_unknown_pooling_is_refused(tmp_path: Path) -> None:
    write_family("bert", tmp_path, labels=None)
    modules = [{"type": "x.Transformer", "path": ""}, {"type": "x.Pooling", "path": "1_Pooling"}]
    (tmp_path / "modules.json").write_text(json.dumps(modules))
    (tmp_path / "1_Pooling").mkdir()
    (tmp_path / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode": "attention"}))
    with pytest.raises(ModelError, match="pooling mode attention is not supported"):
        load_flat_model(tmp_path, "embedder")


# ── what may be there, and in which form ────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("name", "tensor"),
    [
        ("cls.predictions.decoder.weight", torch.zeros(2)),
        ("lm_head.dense.weight", torch.zeros(2)),
        ("bert.embeddings.position_ids", torch.zeros(1, 720, dtype=torch.int64)),
        ("bert.embeddings.token_type_ids", torch.zeros(1, 720, dtype=torch.int64)),
    ],
)
def test_tensors_for_other_uses_are_left_unread(rewritten: Callable[..., Path], name: str, tensor: Tensor) -> None:
    load_flat_model(rewritten("bert", _with(name, tensor)), "reranker")


def test_an_embedder_takes_neither_pooler_nor_head(rewritten: Callable[..., Path]) -> None:
    model = load_flat_model(rewritten("bert"), "embedder")
    assert not any(name.startswith("head.") for name, _ in model.named_parameters())


@pytest.mark.parametrize(
    "change",
    [
        lambda state: {name.removeprefix("bert."): tensor for name, tensor in state.items()},
        lambda state: {
            name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): tensor
            for name, tensor in state.items()
        },
    ],
    ids=["no prefix", "legacy norms"],
)
def test_other_spellings_of_the_names(rewritten: Callable[..., Path], change: Callable[[State], State]) -> None:
    parts = sequences((5, 70))
    expected = run(load_flat_model(rewritten("bert"), "reranker"), parts)
    check_same(run(load_flat_model(rewritten("bert", change), "reranker"), parts), expected)


def test_shards(rewritten: Callable[..., Path]) -> None:
    folder, parts = rewritten("modernbert"), sequences((5, 70))
    expected = run(load_flat_model(folder, "reranker"), parts)
    state = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    shard_of = {name: f"model-0000{1 + index % 3}-of-00003.safetensors" for index, name in enumerate(state)}
    for shard in set(shard_of.values()):
        save_file({name: tensor for name, tensor in state.items() if shard_of[name] == shard}, folder / shard)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": shard_of}))
    check_same(run(load_flat_model(folder, "reranker"), parts), expected)
    (folder / "model-00002-of-00003.safetensors").unlink()
    with pytest.raises(ModelError, match=r"model-00002-of-00003\.safetensors"):
        load_flat_model(folder, "reranker")


@pytest.mark.parametrize("stored", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("asked", [torch.float32, torch.bfloat16, torch.float16])
def test_files_and_models_of_every_dtype(
    rewritten: Callable[..., Path], stored: torch.dtype, asked: torch.dtype
) -> None:
    folder = rewritten("roberta", lambda state: {name: tensor.to(stored) for name, tensor in state.items()})
    model = load_flat_model(folder, "reranker", asked)
    for name, parameter in model.named_parameters():
        assert parameter.dtype == (torch.float32 if name.startswith("head.") else asked), name
        assert not parameter.requires_grad
    outputs = run(model, sequences((5, 70)))
    assert outputs.dtype == torch.float32
    assert torch.isfinite(outputs).all()


def test_rotary_tables_stay_in_fp32(rewritten: Callable[..., Path]) -> None:
    model = load_flat_model(rewritten("modernbert"), "reranker", torch.bfloat16)
    assert {buffer.dtype for buffer in model.buffers()} == {torch.float32}


def test_weights_stay_mapped_from_the_file(rewritten: Callable[..., Path]) -> None:
    folder = rewritten("modernbert")
    model = load_flat_model(folder, "reranker")
    assert str(folder / "model.safetensors") in Path("/proc/self/maps").read_text()
    del model


def test_the_files_may_go_once_they_are_read(rewritten: Callable[..., Path]) -> None:
    folder, parts = rewritten("bert"), sequences((5, 70))
    model = load_flat_model(folder, "reranker")
    expected = run(model, parts)
    shutil.rmtree(folder)
    check_same(run(model, parts), expected)
