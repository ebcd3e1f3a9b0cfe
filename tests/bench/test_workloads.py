from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from bench.load.workloads import MEDIAN_TOKENS, SEQUENCES_PER_CALL, SHORT_TOKENS, calls, target_lengths
from tests.support.checkpoints import write_checkpoint
from trivet.engine.text.tokenizer import TextTokenizer

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint("bge-reranker-base", "tiny", tmp_path_factory.mktemp("model"))


def test_any_stretch_of_lengths_is_like_any_other() -> None:
    lengths = list(islice(target_lengths("mixed", 512, seed=0), 1000))
    means = [np.mean(lengths[start : start + 50]) for start in range(0, 1000, 50)]
    assert max(means) <= 1.15 * min(means)
    assert abs(np.median(lengths) - MEDIAN_TOKENS) <= 5
    assert max(lengths) == 512


def test_short_lengths_stay_short() -> None:
    lengths = list(islice(target_lengths("short", 512, seed=0), 200))
    assert SHORT_TOKENS[0] <= min(lengths) < max(lengths) <= SHORT_TOKENS[1]


@pytest.mark.parametrize("task", ["embedder", "reranker", "classifier"])
def test_lengths_are_what_the_models_tokenizer_counts(model: Path, task: str) -> None:
    tokenizer = TextTokenizer.from_dir(model).raw
    for call in calls(task, model, "mixed", 512, count=4):  # type: ignore[arg-type]
        assert len(call.others) == len(call.lengths) == SEQUENCES_PER_CALL
        for (first, other), length in zip(call.pairs, call.lengths, strict=True):
            encoded = tokenizer.encode(other) if task == "embedder" else tokenizer.encode(first, other)
            assert len(encoded.ids) == length <= 512


def test_the_same_seed_writes_the_same_work(model: Path) -> None:
    assert calls("reranker", model, "mixed", 512, count=3) == calls("reranker", model, "mixed", 512, count=3)
