"""A reranker with a template reads a pair inside its prompt: whole where it fits, in windows where it does not."""

import numpy as np
import pytest

from tests.support.published import causal_rerankers
from trivet.checkpoint.description import ModelFiles
from trivet.engine.scheduling.jobs import Job
from trivet.engine.tasks.base import EngineLimits
from trivet.engine.tasks.rerank import RerankTask
from trivet.engine.text.tokenizer import TextTokenizer
from trivet.errors import InvalidInput
from trivet.messages import LongInput, RerankRequest

MAX_TOKENS = 320
QUERY = "Which option takes values?"
LONG = "The parser reads a value from each line of the group. " * 60


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> RerankTask:
    path = tmp_path_factory.mktemp("models") / "reranker"
    causal_rerankers.write_qwen3_reranker(path)
    files = ModelFiles.read(path, "reranker", MAX_TOKENS, recipe="qwen3-reranker")
    return RerankTask(files, TextTokenizer.from_dir(path), EngineLimits(overlap_tokens=8), "cpu (test)")


def sequences(task: RerankTask, *documents: str, query: str = QUERY, long_input: LongInput = "window") -> Job:
    job = task.prepare_one(RerankRequest(query, documents, long_input=long_input))
    assert isinstance(job, Job)
    return job


def test_a_pair_that_fits_is_tokenised_with_its_prompt(task: RerankTask) -> None:
    [sequence] = sequences(task, "a short one").sequences
    assert task.files.template is not None
    expected = task.tokenizer.encode(task.files.template.texts(QUERY, "a short one"))
    assert sequence.ids().tolist() == np.concatenate(expected).tolist()


@pytest.mark.parametrize("query", [QUERY, LONG])
def test_every_window_of_a_long_pair_has_the_whole_prompt(task: RerankTask, query: str) -> None:
    job = sequences(task, LONG, query=query)
    assert len(job.sequences) > 1
    whole = [sequence.ids().tolist() for sequence in job.sequences]
    assert max(map(len, whole)) <= MAX_TOKENS
    start, end = (task.tokenizer.encode([text])[0].tolist() for text in ("<|im_start|>system\n", "</think>\n\n"))
    assert all(ids[: len(start)] == start and ids[-len(end) :] == end for ids in whole)


def test_a_long_document_is_cut_or_refused_on_request(task: RerankTask) -> None:
    assert len(sequences(task, LONG, long_input="truncate").sequences) == 1
    refused = task.prepare_one(RerankRequest(QUERY, (LONG,), long_input="error"))
    assert isinstance(refused, InvalidInput)
    assert refused.code == "context_length_exceeded"
