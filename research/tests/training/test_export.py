"""What is exported and assembled again is the trained model, as transformers and sentence-transformers load it."""

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer, BertForSequenceClassification

from research.training.base_model import load_base
from research.training.export import SIZE_LIMIT_BYTES, export_delta
from trivet.starter.assemble import assemble

PAIR = ("how do I retry a failed HTTP request", "Call it again after a pause that doubles each time.")


def moved_model() -> BertForSequenceClassification:
    """The base after a pretended training: every trainable weight nudged."""
    torch.manual_seed(0)
    model = load_base(num_labels=1).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter += 0.01 * torch.randn_like(parameter)
    return model


@pytest.fixture(scope="module")
def trained() -> BertForSequenceClassification:
    return moved_model()


@pytest.fixture(scope="module")
def assembled(trained: BertForSequenceClassification, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("export")
    export_delta(
        trained,
        root / "shipped",
        task="reranker",
        model_version="test",
        id2label={0: "relevance"},
        head_scale=0.5,
    )
    assert (root / "shipped" / "delta.safetensors").stat().st_size <= SIZE_LIMIT_BYTES
    return assemble(root / "shipped", root / "cache")


def test_logits_are_those_of_the_trained_model_times_the_head_scale(
    trained: BertForSequenceClassification, assembled: Path
) -> None:
    model = AutoModelForSequenceClassification.from_pretrained(assembled).eval()
    inputs = AutoTokenizer.from_pretrained(assembled)(*PAIR, return_tensors="pt")
    with torch.inference_mode():
        expected = 0.5 * trained(**inputs).logits
        torch.testing.assert_close(model(**inputs).logits, expected, rtol=1e-2, atol=5e-3)
    assert model.config.id2label == {0: "relevance"}


def test_the_tokenizer_neither_cuts_nor_pads(assembled: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(assembled)
    assert tokenizer.model_max_length == 512
    assert len(tokenizer("word " * 300, truncation=False)["input_ids"]) == 302
    assert len(tokenizer("word")["input_ids"]) == 3


def test_sentence_transformers_takes_it_as_a_cross_encoder(assembled: Path) -> None:
    from sentence_transformers import CrossEncoder

    scores = CrossEncoder(str(assembled), device="cpu").predict([PAIR])
    assert scores.shape == (1,)
    assert 0.0 < scores[0] < 1.0
