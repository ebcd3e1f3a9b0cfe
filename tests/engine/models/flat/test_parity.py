"""Every family and task against transformers, in fp32: many lengths side by side, and each alone."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.engine.models.flat.support import (
    ENCODERS,
    FAMILIES,
    LENGTHS,
    TYPED,
    run,
    sequences,
    token_types,
    write_family,
)
from tests.support.checkpoints import write_checkpoint
from trivet.config import Task
from trivet.engine.models.flat.load import load_flat_model
from trivet.starter import prepare_starter

TOLERANCE = {"rtol": 0.0, "atol": 1e-5}
SHORT = tuple(length for length in LENGTHS if length <= 512)


def _logits(model: nn.Module, parts: list[Tensor], types: list[Tensor] | None = None) -> Tensor:
    """What transformers answers for each sequence by itself: (S, labels)."""
    given: list[dict[str, Any]] = [{} if types is None else {"token_type_ids": t[None]} for t in types or parts]
    with torch.inference_mode():
        return torch.cat([model(part[None], **more).logits for part, more in zip(parts, given, strict=True)])


def _means(model: nn.Module, parts: list[Tensor]) -> Tensor:
    """The mean state of each sequence by itself: (S, H)."""
    with torch.inference_mode():
        return torch.cat([model(part[None]).last_hidden_state.mean(1) for part in parts])


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_embedders(family: str, tmp_path: Path) -> None:
    reference = write_family(family, tmp_path, labels=None)
    model, parts = load_flat_model(tmp_path, "embedder"), sequences(LENGTHS)
    expected = _means(reference, parts)
    torch.testing.assert_close(run(model, parts), expected, **TOLERANCE)
    for part, alone in zip(parts, expected, strict=True):
        torch.testing.assert_close(run(model, [part])[0], alone, **TOLERANCE)
    assert expected.std(0).mean() > 0.01, "sequences must differ for this test to mean much"


HEADS = ("bert", "electra", "roberta", "distilbert", "modernbert", "modernbert-mean", "gte", "qwen3")
"""A family for each form of head."""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("family", "task", "labels"),
    [
        *((family, "reranker", 1) for family in FAMILIES),
        *(
            pytest.param(family, "classifier", 3, marks=() if family in HEADS else pytest.mark.models)
            for family in FAMILIES
        ),
    ],
)
def test_classifiers(family: str, task: Task, labels: int, tmp_path: Path) -> None:
    reference = write_family(family, tmp_path, labels)
    parts = sequences(LENGTHS)
    expected = _logits(reference, parts)
    assert expected.shape == (len(LENGTHS), labels)
    torch.testing.assert_close(run(load_flat_model(tmp_path, task), parts), expected, **TOLERANCE)
    assert expected.std(0).min() > 0.05, "sequences must differ for this test to mean much"


@pytest.mark.parametrize("family", [*ENCODERS, "qwen3"])
def test_an_embedder_is_read_from_a_classifiers_files(family: str, tmp_path: Path) -> None:
    """Its tensors have a prefix there, and a head beside them."""
    reference = write_family(family, tmp_path, labels=2)
    parts = sequences((3, 90))
    expected = _means(reference.base_model, parts)  # type: ignore[arg-type]
    torch.testing.assert_close(run(load_flat_model(tmp_path, "embedder"), parts), expected, **TOLERANCE)


@pytest.mark.slow
@pytest.mark.parametrize("family", TYPED)
def test_token_types(family: str, tmp_path: Path) -> None:
    reference = write_family(family, tmp_path, labels=1)
    parts = sequences(LENGTHS)
    types = [token_types(part) for part in parts]
    model = load_flat_model(tmp_path, "reranker")
    expected = _logits(reference, parts, types)
    torch.testing.assert_close(run(model, parts, types), expected, **TOLERANCE)
    assert not torch.allclose(run(model, parts), expected, atol=1e-3), "types must matter for this test to mean much"


@pytest.mark.parametrize("family", ["roberta", "xlm-roberta", "distilbert", "modernbert", "gte-untyped", "qwen3"])
def test_models_without_token_types_ignore_them(family: str, tmp_path: Path) -> None:
    write_family(family, tmp_path, labels=1)
    model, parts = load_flat_model(tmp_path, "reranker"), sequences((3, 90))
    assert torch.equal(run(model, parts, [token_types(part) for part in parts]), run(model, parts))


@pytest.mark.parametrize("family", ["roberta", "xlm-roberta"])
def test_tokens_of_the_padding_id_take_no_position(family: str, tmp_path: Path) -> None:
    """As in transformers, wherever they stand: a text can name the padding token."""
    reference = write_family(family, tmp_path, labels=1)
    padding = getattr(reference, "config").pad_token_id  # noqa: B009 - a module types its attributes as tensors
    parts = [*sequences((5, 40)), torch.tensor([padding, 8, 9]), torch.tensor([7, padding, padding, 8, padding])]
    expected = _logits(reference, parts)
    torch.testing.assert_close(run(load_flat_model(tmp_path, "reranker"), parts), expected, **TOLERANCE)


def test_ids_and_positions_may_be_int32(tmp_path: Path) -> None:
    write_family("bert", tmp_path, labels=1)
    model, parts = load_flat_model(tmp_path, "reranker"), sequences((3, 90))
    types = [token_types(part) for part in parts]
    short = run(model, [part.int() for part in parts], [each.int() for each in types])
    assert torch.equal(short, run(model, parts, types))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "task", "lengths"),
    [("bge-reranker-base", "reranker", SHORT), ("ModernBERT-large-zeroshot-v2.0", "classifier", LENGTHS)],
)
def test_flagships(kind: Any, task: Task, lengths: tuple[int, ...], tmp_path: Path) -> None:
    from transformers import AutoModelForSequenceClassification

    write_checkpoint(kind, "tiny", tmp_path, seed=7)
    reference = AutoModelForSequenceClassification.from_pretrained(tmp_path, attn_implementation="eager").eval()
    parts = sequences(lengths, vocab_size=900)
    torch.testing.assert_close(run(load_flat_model(tmp_path, task), parts), _logits(reference, parts), **TOLERANCE)


@pytest.mark.slow
@pytest.mark.parametrize("task", ["reranker", "classifier"])
def test_starters(task: Any, tmp_path: Path) -> None:
    from transformers import AutoModelForSequenceClassification

    folder = prepare_starter(task, tmp_path)
    reference = AutoModelForSequenceClassification.from_pretrained(folder, attn_implementation="eager").eval()
    parts = sequences(SHORT, vocab_size=30_000)
    types = [token_types(part) for part in parts]
    expected = _logits(reference, parts, types)
    torch.testing.assert_close(run(load_flat_model(folder, task), parts, types), expected, **TOLERANCE)


@pytest.mark.slow
def test_the_starter_embedder_equals_sentence_transformers(tmp_path: Path) -> None:
    from sentence_transformers import SentenceTransformer

    folder = prepare_starter("embedder", tmp_path)
    reference = SentenceTransformer(str(folder), device="cpu")
    parts = sequences(SHORT, vocab_size=30_000)
    with torch.inference_mode():
        expected = torch.cat(
            [
                reference({"input_ids": part[None], "attention_mask": torch.ones_like(part)[None]})[
                    "sentence_embedding"
                ]
                for part in parts
            ]
        )
    ours = nn.functional.normalize(run(load_flat_model(folder, "embedder"), parts), dim=-1)
    torch.testing.assert_close(ours, expected, **TOLERANCE)


def test_sequences_longer_than_the_positions_are_refused_before_they_run(tmp_path: Path) -> None:
    write_family("roberta", tmp_path, labels=1)
    model = load_flat_model(tmp_path, "reranker")
    assert model.max_tokens == 718  # 720 positions, of which the first is number 2
    with pytest.raises(ValueError, match="719 tokens; the model has positions for 718"):
        run(model, sequences((719,)))
