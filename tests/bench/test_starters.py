"""The arithmetic of the starter benchmark: recounted lengths, and ratios."""

from pathlib import Path

import pytest

from bench.engine.starters import ratios, recount
from bench.load.workloads import Call
from trivet.engine.text.tokenizer import TextTokenizer
from trivet.starter import prepare_starter


def test_overall_is_the_ratio_of_times_not_the_mean_of_ratios() -> None:
    def rates(*values: float) -> dict[str, dict[str, float]]:
        return {task: {"r": value} for task, value in zip(("embedder", "reranker", "classifier"), values, strict=True)}

    found = ratios({"starter": rates(10.0, 10.0, 10.0), "flagship": rates(10.0, 5.0, 1.0)}, "r")  # type: ignore[arg-type]
    assert found == {
        "embedder": 1.0,
        "reranker": 2.0,
        "classifier": 10.0,
        "overall": pytest.approx(1.3 / 0.3, abs=0.05),
    }


def test_recounted_lengths_are_what_the_model_reads(tmp_path: Path) -> None:
    tokenizer = TextTokenizer.from_dir(prepare_starter("embedder", tmp_path))
    call = Call("the query", ("one", "two words"), (99, 99))
    assert recount("reranker", [call], tokenizer)[0].lengths == (2 + 1 + 3, 2 + 2 + 3)  # [CLS] a [SEP] b [SEP]
    assert recount("embedder", [call], tokenizer)[0].lengths == (1 + 2, 2 + 2)
