"""Sparse weights and token vectors from outputs of forwards: windows, tokens that do not count, limits."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.support.published import several_vectors, xlm_roberta
from trivet.checkpoint.description import ModelFiles
from trivet.checkpoint.unpickle import convert
from trivet.engine.scheduling.jobs import Job, Kept
from trivet.engine.tasks import token_vectors
from trivet.engine.tasks.base import EngineLimits
from trivet.engine.tasks.embed import EmbedTask
from trivet.engine.tasks.late_rerank import LateRerankTask
from trivet.engine.tasks.sparse import above_zero, largest_by_id, largest_of_entries
from trivet.engine.tasks.token_vectors import TokenVectors, max_sim
from trivet.engine.text.tokenizer import TextTokenizer
from trivet.errors import InvalidInput, ModelError
from trivet.messages import EmbedRequest, EmbedResult, Floats, RerankRequest, RerankResult, StageTimings

LONG = "the parser reads a value " * 60
TIMINGS = StageTimings()


@pytest.fixture(scope="module")
def colbert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("colbert")
    several_vectors.write_colbert_stanford(folder)
    return folder


@pytest.fixture(scope="module")
def splade(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("splade")
    several_vectors.write_splade(folder)
    return folder


@pytest.fixture(scope="module")
def m3(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("m3")
    xlm_roberta.write_bge_m3(folder / "pickled")
    convert(folder / "pickled", folder / "own")
    return folder / "own"


def tokenizer_of(files: ModelFiles) -> TextTokenizer:
    markers = files.late.markers.values() if files.late else ()
    return TextTokenizer.from_dir(files.path, pad_id=files.architecture.pad_id, markers=markers)


def embedder(path: Path) -> EmbedTask:
    files = ModelFiles.read(path, "embedder")
    return EmbedTask(files, tokenizer_of(files), EngineLimits(), "cpu")


def outputs_of(job: Job, columns: int) -> list[Floats]:
    """Numbers that differ, as a forward would give them."""
    rng = np.random.default_rng(0)
    sizes = [(sequence.tokens, columns) if job.per_token else (columns,) for sequence in job.sequences]
    return [rng.standard_normal(size).astype(np.float32) for size in sizes]


def finished(job: Job | Exception, columns: int) -> tuple[list[Floats], EmbedResult | RerankResult]:
    assert isinstance(job, Job), job
    assert isinstance(job.finish, Kept)
    outputs = outputs_of(job, columns)
    kept = [job.finish.compact(index, one) for index, one in enumerate(outputs)]
    result = job.finish.finish(kept, TIMINGS)
    assert isinstance(result, EmbedResult | RerankResult)
    return outputs, result


def test_a_query_is_filled_up_with_masks_that_nothing_attends_to(colbert: Path) -> None:
    job = embedder(colbert).prepare_one(EmbedRequest(("a value",), input_type="query", output="tokens"))
    assert isinstance(job, Job)
    [query] = job.sequences
    tokenizer = tokenizer_of(ModelFiles.read(colbert, "embedder"))
    ids = query.ids().tolist()
    real = query.tokens - query.unseen
    assert query.tokens == 32
    assert ids[:2] == [tokenizer.raw.token_to_id("[CLS]"), tokenizer.raw.token_to_id("[unused0]")]
    assert ids[real - 1 :] == [tokenizer.raw.token_to_id("[SEP]")] + [tokenizer.mask_id] * query.unseen


def test_punctuation_of_documents_does_not_count_and_windows_follow_each_other(colbert: Path) -> None:
    request = EmbedRequest(("a, value.", LONG), input_type="document", output="tokens")
    job = embedder(colbert).prepare_one(request)
    outputs, result = finished(job, 32)
    assert isinstance(job, Job)
    assert isinstance(result, EmbedResult)
    assert result.usage.windows[0] == 1
    assert result.usage.windows[1] == len(job.sequences) - 1 > 1
    assert max(sequence.tokens for sequence in job.sequences) <= 180
    assert len(result.tokens[0]) == job.sequences[0].tokens - 2
    np.testing.assert_array_equal(result.tokens[1], np.concatenate(outputs[1:]))


def test_a_query_counts_its_punctuation(colbert: Path) -> None:
    job = embedder(colbert).prepare_one(EmbedRequest(("a, value.",), input_type="query", output="tokens"))
    _, result = finished(job, 32)
    assert isinstance(result, EmbedResult)
    assert len(result.tokens[0]) == 32


def test_late_reranking_is_maxsim_over_all_windows(colbert: Path) -> None:
    files = ModelFiles.read(colbert, "reranker")
    task = LateRerankTask(files, tokenizer_of(files), EngineLimits(), "cpu")
    job = task.prepare_one(RerankRequest("a value", ("one line", LONG)))
    outputs, result = finished(job, 32)
    assert isinstance(job, Job)
    assert isinstance(result, RerankResult)
    long = np.concatenate(outputs[2:])
    expected = [max_sim(outputs[0], outputs[1]), max_sim(outputs[0], long)]
    np.testing.assert_allclose(result.logits, expected, rtol=1e-6)
    np.testing.assert_allclose(result.scores, np.clip(np.array(expected) / 32, 0, 1), rtol=1e-6)
    assert result.usage.tokens == job.tokens
    assert result.usage.windows == (1, len(outputs) - 2)


def test_maxsim_adds_up_the_best_product_of_each_query_token() -> None:
    query = np.array([[1, 0], [0, 1]], np.float32)
    document = np.array([[0.5, 0.1], [0.2, 0.9], [0.3, 0.3]], np.float32)
    assert max_sim(query, document) == pytest.approx(1.4)
    assert max_sim(query, document[:0]) == 0.0


def test_splade_keeps_the_largest_weight_of_each_entry(splade: Path) -> None:
    task = embedder(splade)
    job = task.prepare_one(EmbedRequest((LONG * 2, "a"), output="sparse"))
    outputs, result = finished(job, task.files.architecture.vocab_size)
    assert isinstance(result, EmbedResult)
    assert result.usage.windows[0] > 1
    largest = np.maximum.reduce(outputs[:-1])
    indices = np.flatnonzero(largest > 0)
    np.testing.assert_array_equal(result.sparse[0].indices, indices)
    np.testing.assert_array_equal(result.sparse[0].values, largest[indices])


def test_m3_gives_weights_of_ids_and_vectors_of_all_tokens_but_the_first(m3: Path) -> None:
    task = embedder(m3)
    assert task.files.outputs == ("dense", "sparse", "tokens")
    request = EmbedRequest(("a value a value",), output="sparse")
    _, result = finished(task.prepare_one(request), 1 + task.files.token_dimensions)
    assert isinstance(result, EmbedResult)
    assert not set(result.sparse[0].indices) & {0, 1, 2, 3}
    vectors, found = finished(task.prepare_one(replace(request, output="tokens")), 1 + task.files.token_dimensions)
    assert isinstance(found, EmbedResult)
    np.testing.assert_array_equal(found.tokens[0], vectors[0][1:, 1:])


def test_an_id_has_its_largest_weight_and_none_of_0() -> None:
    found = largest_by_id(np.array([7, 5, 7, 9], np.int32), np.array([0.5, 0.25, 1.5, 0.0], np.float32))
    assert found.indices.tolist() == [5, 7]
    assert found.values.tolist() == [0.25, 1.5]


def test_windows_of_entries_are_joined_by_the_largest() -> None:
    windows = [above_zero(np.array([0, 2, -1, 3], np.float32)), above_zero(np.array([0, 1, 4, 0], np.float32))]
    found = largest_of_entries(windows)
    assert dict(zip(found.indices.tolist(), found.values.tolist(), strict=True)) == {1: 2.0, 2: 4.0, 3: 3.0}


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (EmbedRequest(("x",)), "output"),
        (EmbedRequest(("x",), output="sparse"), "output"),
        (EmbedRequest(("x",), output="tokens", dimensions=8), "dimensions"),
        (EmbedRequest(("x",), output="tokens", normalize=True), "normalize"),
    ],
)
def test_what_makes_no_sense_for_an_output_is_refused_by_name(
    colbert: Path, request_: EmbedRequest, field: str
) -> None:
    refused = embedder(colbert).prepare_one(request_)
    assert isinstance(refused, InvalidInput)
    assert refused.field == field


def test_an_answer_of_too_many_token_vectors_is_refused(colbert: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trivet.engine.tasks.embed.MOST_ANSWERED_NUMBERS", 32 * 100)
    refused = embedder(colbert).prepare_one(EmbedRequest((LONG,), output="tokens"))
    assert isinstance(refused, InvalidInput)
    assert "100 tokens of 32 dimensions" in refused.message


def test_documents_of_too_many_tokens_are_refused(colbert: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trivet.engine.tasks.late_rerank.MOST_NUMBERS", 32 * 100)
    files = ModelFiles.read(colbert, "reranker")
    task = LateRerankTask(files, tokenizer_of(files), EngineLimits(), "cpu")
    refused = task.prepare_one(RerankRequest("a", (LONG,)))
    assert isinstance(refused, InvalidInput)
    assert refused.field == "documents"


def test_a_tokenizer_without_the_token_that_fills_up_is_refused(colbert: Path) -> None:
    files = ModelFiles.read(colbert, "embedder")
    assert files.late is not None
    assert files.late.expansion is not None
    unknown = replace(files, late=replace(files.late, expansion=replace(files.late.expansion, token="[NONE]")))
    with pytest.raises(ModelError, match=r"\[NONE\]"):
        TokenVectors(unknown, tokenizer_of(files))
    assert token_vectors.MOST_ANSWERED_NUMBERS <= token_vectors.MOST_NUMBERS
