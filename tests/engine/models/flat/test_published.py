"""Published layouts on the flat path against the path through transformers: heads, prefixes, dtypes of files.

`tests/models` compares what is served with the libraries; here both paths read the same token ids.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from tests.engine.models.flat.support import run, sequences
from tests.support.published import causal_rerankers, decoders, gte, modernbert
from trivet.checkpoint.architecture import Architecture
from trivet.checkpoint.files import CheckpointMismatch, read_config
from trivet.checkpoint.flat.model import padded_because, read_body
from trivet.checkpoint.gpu_form import varlen_refusal
from trivet.config import Task
from trivet.engine.models.flat.load import load_flat_model
from trivet.engine.models.load import load_torch_model
from trivet.errors import ModelError

LENGTHS = (1, 2, 37, 300, 5, 128, 129)
LAYOUTS: tuple[tuple[Callable[[Path], None], Task, str | None], ...] = (
    (decoders.write_qwen3_embedding, "embedder", None),
    (decoders.write_qwen3_bidirectional, "embedder", None),
    (decoders.write_causal_without_modules, "embedder", None),
    (decoders.write_gte_qwen2, "embedder", None),
    (decoders.write_e5_mistral, "embedder", None),
    (decoders.write_llama_embedder, "embedder", None),
    (decoders.write_nemotron, "embedder", None),
    (decoders.write_voyage_nano, "embedder", None),
    (decoders.write_embedding_gemma, "embedder", None),
    (causal_rerankers.write_qwen3_reranker, "reranker", "qwen3-reranker"),
    (causal_rerankers.write_qwen3_reranker_modules, "reranker", None),
    (causal_rerankers.write_qwen3_seq_cls_modules, "reranker", None),
    (causal_rerankers.write_mxbai_rerank_v2, "reranker", "mxbai-rerank-v2"),
    (causal_rerankers.write_bge_reranker_gemma, "reranker", "bge-reranker-v2-gemma"),
    (gte.write_gte_multilingual, "embedder", None),
    (gte.write_gte_en_v15, "embedder", None),
    (gte.write_stella, "embedder", None),
    (gte.write_native_gte, "embedder", None),
    (gte.write_arctic_m_v2, "embedder", None),
    (gte.write_gte_with_ntk, "embedder", None),
    (modernbert.write_ettin_reranker, "reranker", None),
)


def padded(folder: Path, task: Task, parts: list[Tensor], recipe: str | None = None) -> Tensor:
    """What the path through transformers answers for each sequence by itself."""
    model: Any = load_torch_model(folder, task, recipe=recipe)
    with torch.inference_mode():
        return torch.cat([model(part[None], torch.ones_like(part)[None]) for part in parts])


def parts_for(folder: Path, lengths: tuple[int, ...] = LENGTHS) -> list[Tensor]:
    return sequences(lengths, vocab_size=Architecture.read(folder).vocab_size)


@pytest.mark.slow
@pytest.mark.parametrize(("write", "task", "recipe"), LAYOUTS, ids=lambda each: getattr(each, "__name__", None))
def test_both_paths_agree(write: Callable[[Path], None], task: Task, recipe: str | None, tmp_path: Path) -> None:
    write(tmp_path)
    assert padded_because(tmp_path, task, recipe) is None
    head_size = read_body(read_config(tmp_path)).head_size
    assert varlen_refusal((8, 0), "bf16", head_size) is None, "tests/gpu computes it with this attention"
    parts = parts_for(tmp_path)
    expected = padded(tmp_path, task, parts, recipe)
    found = run(load_flat_model(tmp_path, task, recipe=recipe), parts)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=2e-5)
    assert expected.std(0).min() > 1e-3, "sequences must differ for this test to mean much"


# ── heads ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def change(folder: Path, tensors: Callable[[dict[str, Tensor]], dict[str, Tensor]], **config: Any) -> None:
    file = folder / "model.safetensors"
    save_file(tensors(load_file(file)), file, metadata={"format": "pt"})
    fields = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(fields | config))


def flipped(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return state | {"lm_head.weight": state["model.embed_tokens.weight"].flip(0).contiguous()}


@pytest.mark.parametrize("ties_words", [True, False])
def test_a_language_head_of_the_file_goes_before_the_embeddings(ties_words: bool, tmp_path: Path) -> None:
    causal_rerankers.write_qwen3_reranker_modules(tmp_path)
    change(tmp_path, flipped, tie_word_embeddings=ties_words)
    head: Any = load_flat_model(tmp_path, "reranker").head
    score = json.loads((tmp_path / "1_LogitScore" / "config.json").read_text())
    rows = load_file(tmp_path / "model.safetensors")["lm_head.weight"].float()
    assert torch.equal(head.steps.linear.weight, rows[[score["true_token_id"], score["false_token_id"]]])


@pytest.mark.parametrize(
    ("write", "tensors", "config", "named"),
    [
        (
            causal_rerankers.write_qwen3_reranker_modules,
            lambda state: state,
            {"tie_word_embeddings": False},
            "has no lm_head.weight",
        ),
        (
            causal_rerankers.write_qwen3_reranker_modules,
            lambda state: state | {"lm_head.weight": torch.zeros(300, 32)},
            {},
            r"lm_head.weight is 300 × 32; its configuration says \d+ × 64",
        ),
        (
            causal_rerankers.write_qwen3_seq_cls_modules,
            lambda state: state | {"score.bias": torch.zeros(1)},
            {},
            "holds score.bias",
        ),
        (
            causal_rerankers.write_qwen3_seq_cls_modules,
            lambda state: state | {"score.weight": torch.zeros(3, 64)},
            {},
            r"score.weight is 3 × 64; its configuration says 1 × 64",
        ),
        (
            causal_rerankers.write_qwen3_seq_cls_modules,
            lambda state: {name: each for name, each in state.items() if "layers.1.self_attn.k_proj" not in name},
            {},
            r"missing tensors: layers.1.self_attn.k_proj.weight",
        ),
        (
            causal_rerankers.write_qwen3_seq_cls_modules,
            lambda state: state | {"model.layers.0.self_attn.q_proj.bias": torch.zeros(128)},
            {},
            r"unexpected tensors: model.layers.0.self_attn.q_proj.bias",
        ),
        (
            causal_rerankers.write_qwen3_seq_cls_modules,
            lambda state: state,
            {"num_key_value_heads": 4},
            r"layers.0.self_attn.k_proj.weight is \(64, 64\), config.json says \(128, 64\)",
        ),
    ],
)
def test_tensors_that_do_not_fit_are_named(
    write: Callable[[Path], None],
    tensors: Callable[[dict[str, Tensor]], dict[str, Tensor]],
    config: dict[str, Any],
    named: str,
    tmp_path: Path,
) -> None:
    write(tmp_path)
    change(tmp_path, tensors, **config)
    with pytest.raises(CheckpointMismatch, match=named):
        load_flat_model(tmp_path, "reranker")


def test_a_causal_model_without_a_named_recipe_is_refused(tmp_path: Path) -> None:
    causal_rerankers.write_qwen3_reranker(tmp_path)
    with pytest.raises(ModelError, match=r"set reranker\.template to one of"):
        load_flat_model(tmp_path, "reranker")


def test_logits_of_words_are_squashed_as_gemma_3_does_it(tmp_path: Path) -> None:
    causal_rerankers.write_qwen3_reranker_modules(tmp_path)
    plain = load_flat_model(tmp_path, "reranker")
    head: Any = plain.head
    head.steps.softcap = 0.5
    parts = parts_for(tmp_path, (3, 40))
    assert run(plain, parts).abs().max() <= 1.0, "the difference of two logits of at most 0.5"


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_head_computes_in_fp32(dtype: torch.dtype, tmp_path: Path) -> None:
    decoders.write_embedding_gemma(tmp_path)
    model = load_flat_model(tmp_path, "embedder", dtype)
    assert {each.dtype for each in model.head.parameters()} == {torch.float32}
    assert {each.dtype for each in model.encoder.parameters()} == {dtype}
    assert {each.dtype for each in model.encoder.buffers()} == {torch.float32}


def test_weights_are_counted_with_the_head(tmp_path: Path) -> None:
    from trivet.engine.models.flat.load import FlatCheckpoint

    decoders.write_embedding_gemma(tmp_path)
    checkpoint = FlatCheckpoint(tmp_path, "embedder", torch.bfloat16)
    model = checkpoint.load()
    assert checkpoint.weights_bytes == sum(each.nbytes for each in (*model.parameters(), *model.buffers()))
