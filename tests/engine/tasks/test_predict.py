"""The classifier's own classes: the sequences of a request, and the one that decides."""

import numpy as np
import pytest

from tests.support.checkpoints import write_checkpoint
from trivet.checkpoint.description import ModelFiles
from trivet.engine.scheduling.jobs import Job
from trivet.engine.tasks.base import EngineLimits
from trivet.engine.tasks.predict import PredictTask
from trivet.engine.text.tokenizer import TextTokenizer
from trivet.errors import InputTooLong, InvalidInput
from trivet.messages import LongInput, PairText, PredictRequest, PredictResult, StageTimings

MAX_TOKENS = 32
LONG = "word " * 100


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> PredictTask:
    path = write_checkpoint("ModernBERT-large-zeroshot-v2.0", "tiny", tmp_path_factory.mktemp("m") / "nli", seed=7)
    files = ModelFiles.read(path, "classifier", MAX_TOKENS)
    return PredictTask(files, TextTokenizer.from_dir(path), EngineLimits(overlap_tokens=4), "cpu (test)")


def _prepare(task: PredictTask, *inputs: PairText, long_input: LongInput = "window") -> Job:
    job = task.prepare_one(PredictRequest(inputs, long_input=long_input))
    assert isinstance(job, Job), job
    return job


def _finish(job: Job, logits: list[list[float]]) -> PredictResult:
    result = job.finish(np.array(logits, dtype=np.float32), StageTimings())
    assert isinstance(result, PredictResult)
    return result


@pytest.mark.slow
def test_a_text_and_a_pair_are_a_sequence_each(task: PredictTask) -> None:
    job = _prepare(task, PairText("one"), PairText("one", "two"))
    assert len(job.sequences) == 2
    assert job.sequences[1].tokens > job.sequences[0].tokens


@pytest.mark.slow
def test_logits_and_their_softmax_in_the_order_of_the_labels(task: PredictTask) -> None:
    result = _finish(_prepare(task, PairText("one"), PairText("two")), [[2.0, 0.0], [0.0, 1.0]])
    assert len(result.labels) == 2
    assert result.logits.tolist() == [[2.0, 0.0], [0.0, 1.0]]
    assert result.scores.sum(axis=1) == pytest.approx([1.0, 1.0])
    assert result.scores[0, 0] == pytest.approx(1 / (1 + np.exp(-2.0)))


def test_of_a_long_text_the_window_that_entails_most_answers_alone(task: PredictTask) -> None:
    job = _prepare(task, PairText("short"), PairText(LONG), PairText("short"))
    windows = len(job.sequences) - 2
    assert windows > 2
    assert all(sequence.tokens <= MAX_TOKENS for sequence in job.sequences)
    entailment, _ = task.files.entailment()
    logits = [[float(at), -float(at)] for at in range(len(job.sequences))]
    if entailment == 1:
        logits = [pair[::-1] for pair in logits]
    result = _finish(job, logits)
    assert result.logits.tolist() == [logits[0], logits[windows], logits[windows + 1]]
    assert result.usage.windows == (1, windows, 1)
    assert result.usage.truncated == (False, False, False)


def test_both_texts_of_a_long_pair_are_read_whole(task: PredictTask) -> None:
    job = _prepare(task, PairText(LONG, LONG))
    assert all(sequence.tokens <= MAX_TOKENS for sequence in job.sequences)
    _, content = task.tokenizer.encode(["x", LONG])
    assert sum(sequence.tokens for sequence in job.sequences) > 2 * len(content)


def test_truncation_reads_the_first_window_and_says_so(task: PredictTask) -> None:
    result = _finish(_prepare(task, PairText(LONG), long_input="truncate"), [[1.0, 0.0]])
    assert result.usage.truncated == (True,)
    assert result.usage.windows == (1,)


def test_an_error_names_the_input(task: PredictTask) -> None:
    error = task.prepare_one(PredictRequest((PairText("one"), PairText(LONG)), long_input="error"))
    assert isinstance(error, InputTooLong)
    assert error.param == "inputs[1]"


def test_too_many_sequences_are_refused(task: PredictTask) -> None:
    small = PredictTask(task.files, task.tokenizer, EngineLimits(overlap_tokens=4, max_sequences=3), "cpu (test)")
    assert isinstance(small.prepare_one(PredictRequest((PairText(LONG),))), InvalidInput)


def test_tokens_are_shown_with_their_places(task: PredictTask) -> None:
    text = "def area(r): return PI"
    [tokens] = task.tokenizer.tokens([text], add_special_tokens=True)
    assert tokens[0].special
    assert tokens[-1].special
    assert (tokens[0].start, tokens[0].stop) == (None, None)
    for token in tokens[1:-1]:
        assert token.text == text[token.start : token.stop]
    [bare] = task.tokenizer.tokens([text], add_special_tokens=False)
    assert bare == tokens[1:-1]
