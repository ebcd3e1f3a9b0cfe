"""The engine's results equal those of the usual implementations.

fp32 within 1e-4; bf16 by cosine and score difference. Texts differ in length, so that batches are padded.
"""

from pathlib import Path

import numpy as np
import pytest

from tests.engine.conftest import Engines
from trivet.messages import (
    ClassifyRequest,
    ClassifyResult,
    EmbedRequest,
    EmbedResult,
    Floats,
    PairText,
    RerankRequest,
    RerankResult,
)

TEXTS = (
    "hello",
    "def area(r):\n    return PI * r * r",
    "A database index trades slower writes for faster lookups. " * 3,
    "Ünïcödé — 日本語 🙂",
    "Wait a little longer after every failed attempt, then send the HTTP request again. " * 6,
    "x",
)
LABELS = ("databases", "cooking", "programming")
TEMPLATE = "This example is {}."

pytestmark = pytest.mark.slow


def embed(ask: Engines, path: Path, texts: tuple[str, ...], precision: str = "fp32", **options: object) -> Floats:
    result = ask("embedder", path, EmbedRequest(texts, **options), precision=precision)  # type: ignore[arg-type]
    assert isinstance(result, EmbedResult)
    return result.vectors


def test_embeddings_equal_sentence_transformers(ask: Engines, checkpoints: dict[str, Path]) -> None:
    from sentence_transformers import SentenceTransformer

    expected = SentenceTransformer(str(checkpoints["minilm"]), device="cpu").encode(list(TEXTS))
    np.testing.assert_allclose(embed(ask, checkpoints["minilm"], TEXTS), expected, atol=1e-4)


def test_embeddings_in_bf16_point_the_same_way(ask: Engines, checkpoints: dict[str, Path]) -> None:
    from sentence_transformers import SentenceTransformer

    expected = SentenceTransformer(str(checkpoints["minilm"]), device="cpu").encode(list(TEXTS))
    cosine = (embed(ask, checkpoints["minilm"], TEXTS, "bf16") * expected).sum(axis=1)
    assert cosine.min() >= 0.9995


def test_matryoshka_slices_then_renormalises(ask: Engines, checkpoints: dict[str, Path]) -> None:
    from sentence_transformers import SentenceTransformer

    reference = SentenceTransformer(str(checkpoints["minilm"]), device="cpu", truncate_dim=64)
    expected = reference.encode(list(TEXTS), normalize_embeddings=True)
    np.testing.assert_allclose(embed(ask, checkpoints["minilm"], TEXTS, dimensions=64), expected, atol=1e-4)


@pytest.mark.parametrize("name", ["starter-reranker", "bge-reranker-base"])
def test_rerank_equals_cross_encoder(ask: Engines, checkpoints: dict[str, Path], name: str) -> None:
    from sentence_transformers import CrossEncoder

    query, documents = TEXTS[0], TEXTS[1:]
    reference = CrossEncoder(str(checkpoints[name]), device="cpu")
    expected = reference.predict([(query, document) for document in documents])
    for precision, tolerance in (("fp32", 1e-4), ("bf16", 0.01)):
        result = ask("reranker", checkpoints[name], RerankRequest(query, documents), precision=precision)
        assert isinstance(result, RerankResult)
        np.testing.assert_allclose(result.scores, expected, atol=tolerance)


@pytest.mark.parametrize("name", ["starter-classifier", "ModernBERT-large-zeroshot-v2.0"])
@pytest.mark.parametrize(("labels", "multi_label"), [(LABELS, False), (LABELS, True), (LABELS[:1], False)])
def test_classification_equals_the_zero_shot_pipeline(
    ask: Engines, checkpoints: dict[str, Path], name: str, labels: tuple[str, ...], multi_label: bool
) -> None:
    from transformers import pipeline

    reference = pipeline("zero-shot-classification", model=str(checkpoints[name]), device="cpu")
    expected = []
    for text in TEXTS:
        answer = reference(text, list(labels), hypothesis_template=TEMPLATE, multi_label=multi_label)
        expected.append([answer["scores"][answer["labels"].index(label)] for label in labels])
    request = ClassifyRequest(
        tuple(PairText(text) for text in TEXTS),
        {label: TEMPLATE.format(label) for label in labels},
        multi_label=multi_label,
    )
    # The starter's calibrated head is steep: the rounding of its logits in bf16 moves one score in 18 by 0.011.
    bf16_tolerance = 0.02 if name == "starter-classifier" else 0.01
    for precision, tolerance in (("fp32", 1e-4), ("bf16", bf16_tolerance)):
        result = ask("classifier", checkpoints[name], request, precision=precision)
        assert isinstance(result, ClassifyResult)
        np.testing.assert_allclose(result.scores, expected, atol=tolerance)


def test_windows_of_a_long_text_are_the_token_weighted_mean_of_plain_results(
    ask: Engines, checkpoints: dict[str, Path]
) -> None:
    # "w" is one token, so windows can be written out as texts: 100 tokens in windows of 30, overlap 15 (half).
    words = [f"{'abcdefghij'[n % 10]}" for n in range(100)]
    long_text = " ".join(words)
    room, overlap = 30, 15
    result = ask("embedder", checkpoints["minilm"], EmbedRequest((long_text,), normalize=False), max_tokens=room + 2)
    assert isinstance(result, EmbedResult)
    count = -(-(100 - overlap) // (room - overlap))
    size = -(-(100 + (count - 1) * overlap) // count)
    starts = [index * (100 - size) // (count - 1) for index in range(count)]
    assert result.usage.windows == (count,)
    plain = embed(
        ask, checkpoints["minilm"], tuple(" ".join(words[start : start + size]) for start in starts), normalize=False
    )
    np.testing.assert_allclose(result.vectors[0], plain.mean(axis=0), atol=1e-5)


def test_one_window_is_the_plain_result_bit_for_bit(ask: Engines, checkpoints: dict[str, Path]) -> None:
    for text in TEXTS:
        windowed = embed(ask, checkpoints["minilm"], (text,), long_input="window")
        plain = embed(ask, checkpoints["minilm"], (text,), long_input="error")
        assert windowed.tobytes() == plain.tobytes()


def test_a_long_document_scores_as_its_best_window(ask: Engines, checkpoints: dict[str, Path]) -> None:
    filler = "Let the dough rise for twelve hours before you bake the bread. " * 80
    answer = "Send the HTTP request again after a pause that grows with every failure."
    query = "how do I retry a failed HTTP request"
    result = ask("reranker", checkpoints["starter-reranker"], RerankRequest(query, (filler + answer, filler, answer)))
    assert isinstance(result, RerankResult)
    assert result.usage.windows[0] > 1
    assert result.scores[0] > result.scores[1]


def test_equal_inputs_get_equal_answers_in_any_company(ask: Engines, checkpoints: dict[str, Path]) -> None:
    alone = embed(ask, checkpoints["minilm"], TEXTS[:1])
    together = embed(ask, checkpoints["minilm"], (*TEXTS, TEXTS[0]))
    np.testing.assert_allclose(together[[0, -1]], alone[[0, 0]], atol=1e-6)


def test_prompts_come_from_the_models_files(ask: Engines, checkpoints: dict[str, Path]) -> None:
    path = checkpoints["nomic-embed-text-v2-moe"]
    asked = embed(ask, path, ("retry a request",), input_type="query")
    written = embed(ask, path, ("search_query: retry a request",))
    document = embed(ask, path, ("retry a request",), input_type="document")
    np.testing.assert_allclose(asked, written, atol=1e-6)
    assert np.abs(asked - document).max() > 1e-3
