"""A query's prompt with another task in it, and what is refused."""

from pathlib import Path

import httpx
import pytest

from tests.support.dispatcher import FakeDispatcher
from tests.support.published import decoders
from trivet.api.app import create_app
from trivet.api.settings import ApiSettings
from trivet.checkpoint.description import ModelFiles
from trivet.engine.scheduling.jobs import Job
from trivet.engine.tasks.base import EngineLimits
from trivet.engine.tasks.embed import EmbedTask
from trivet.engine.text.tokenizer import TextTokenizer
from trivet.errors import InvalidInput
from trivet.messages import EmbedRequest, InputType
from trivet.prompts import instructed_prompt

QWEN = "Instruct: Given a web search query, retrieve relevant passages that answer the query\nQuery:"


@pytest.mark.parametrize(
    ("prompts", "expected"),
    [
        ({"query": QWEN, "document": ""}, "Instruct: find bugs\nQuery:"),
        ({"web": "Instruct: Given a search\nQuery: "}, "Instruct: find bugs\nQuery: "),
        ({"query": "task: search result | query: "}, "task: find bugs | query: "),
        ({"query": "query: ", "document": "passage: "}, None),
        ({}, None),
    ],
)
def test_the_task_of_a_prompt_is_replaced(prompts: dict[str, str], expected: str | None) -> None:
    assert instructed_prompt(prompts, "find bugs") == expected


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> EmbedTask:
    folder = tmp_path_factory.mktemp("qwen3")
    decoders.write_qwen3_embedding(folder)
    files = ModelFiles.read(folder, "embedder")
    tokenizer = TextTokenizer.from_dir(folder, pad_id=files.architecture.pad_id)
    return EmbedTask(files, tokenizer, EngineLimits(), "cpu")


def test_a_query_is_read_behind_its_instruction(task: EmbedTask) -> None:
    asked = task.prepare_one(EmbedRequest(("x",), instruction="find bugs"))
    by_hand = task.prepare_one(EmbedRequest(("Instruct: find bugs\nQuery:x",)))
    assert isinstance(asked, Job)
    assert isinstance(by_hand, Job)
    assert asked.sequences[0].ids().tolist() == by_hand.sequences[0].ids().tolist()


@pytest.mark.parametrize(("input_type", "prompt_name"), [("document", None), (None, "query")])
def test_an_instruction_is_for_queries(task: EmbedTask, input_type: InputType | None, prompt_name: str | None) -> None:
    request = EmbedRequest(("x",), instruction="find bugs", input_type=input_type, prompt_name=prompt_name)
    refused = task.prepare_one(request)
    assert isinstance(refused, InvalidInput)
    assert refused.field == "instruction"


async def test_the_field_and_the_header(tmp_path: Path) -> None:
    dispatcher = FakeDispatcher()
    transport = httpx.ASGITransport(create_app(dispatcher, ApiSettings(cache_folder=tmp_path)))
    async with httpx.AsyncClient(transport=transport, base_url="http://trivet") as client:
        answer = await client.post("/v1/embeddings", json={"input": "x", "instruction": "find bugs"})
    assert answer.headers["x-trivet-prompt"] == "instruction"
    [request] = dispatcher.requests
    assert isinstance(request, EmbedRequest)
    assert request.instruction == "find bugs"
