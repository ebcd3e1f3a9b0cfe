"""Many texts over several requests: within the limits, in order, and each text exactly once."""

import asyncio
import gc
import threading
from contextlib import aclosing
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.dispatcher import WINDOW_CHARACTERS, FakeDispatcher, vector_of
from tests.support.serving import FailsAtFirst, served
from trivet.api.app import create_app
from trivet.api.settings import ApiSettings
from trivet.client import AsyncClient, BatchLimits, Client, MalformedAnswer, Progress, Refused
from trivet.client.answers import Embedding, Embeddings, Service
from trivet.client.bulk import Batch, Joining, batches_of, joined_service
from trivet.dispatch.protocol import Routed
from trivet.errors import Overloaded
from trivet.messages import EmbedRequest, Request, ResultT

TEXTS = [f"chunk {index} " + "é" * (index % 50) for index in range(3000)]


@given(
    sizes=st.lists(st.integers(0, 50)),
    limits=st.builds(BatchLimits, inputs=st.integers(1, 9), bytes=st.integers(1, 60)),
)
def test_batches_respect_the_limits_and_lose_nothing(sizes: list[int], limits: BatchLimits) -> None:
    items = list(enumerate(sizes))
    batches = list(batches_of(items, lambda item: item[1], limits))
    assert [item for _, batch in batches for item in batch] == items
    for start, batch in batches:
        assert batch[0][0] == start
        assert len(batch) <= limits.inputs
        assert len(batch) == 1 or sum(size for _, size in batch) <= limits.bytes
    for (_, batch), (_, following) in pairwise(batches):
        full = len(batch) == limits.inputs or sum(size for _, size in [*batch, following[0]]) > limits.bytes
        assert full, "a batch was closed although it had room"


def requests_of(dispatcher: FakeDispatcher) -> list[EmbedRequest]:
    return [request for request in dispatcher.requests if isinstance(request, EmbedRequest)]


@pytest.mark.slow
def test_embeds_many(client: Client, dispatcher: FakeDispatcher) -> None:
    seen: list[Progress] = []
    answer = client.embed_many(TEXTS, limits=BatchLimits(inputs=100), on_progress=seen.append, input_type="document")
    np.testing.assert_array_equal(answer.to_numpy(), np.stack([vector_of(text) for text in TEXTS]))
    assert [item.index for item in answer.items] == list(range(len(TEXTS)))
    requests = requests_of(dispatcher)
    assert len(requests) == 30
    assert {(request.priority, request.input_type) for request in requests} == {("bulk", "document")}
    assert [progress.done for progress in seen] == list(range(100, 3001, 100))
    assert (seen[-1].total, seen[-1].tokens) == (3000, answer.tokens)


@pytest.mark.slow
async def test_embeds_many_without_blocking(url: str, dispatcher: FakeDispatcher) -> None:
    seen: list[Progress] = []
    async with AsyncClient(url) as client:
        answer = await client.embed_many(TEXTS, parallel=3, on_progress=seen.append)
    np.testing.assert_array_equal(answer.to_numpy(), np.stack([vector_of(text) for text in TEXTS]))
    assert seen[-1].done == 3000
    assert max(len(request.texts) for request in requests_of(dispatcher)) == BatchLimits().inputs


def test_bytes_limit_a_request_too(client: Client, dispatcher: FakeDispatcher) -> None:
    texts = ["ä" * 300, "b" * 600, "c" * 401, "d" * 5000, "e"]
    client.embed_many(texts, limits=BatchLimits(bytes=1200), parallel=1)
    assert [len(request.texts) for request in requests_of(dispatcher)] == [2, 1, 1, 1]


def test_a_bulk_of_many_megabytes(client: Client) -> None:
    texts = ["x" * 480_000] * 30  # 14 MB, more than the server takes in one request
    assert len(client.embed_many(texts).items) == 30


def test_nothing_to_embed(client: Client, dispatcher: FakeDispatcher) -> None:
    answer = client.embed_many([])
    assert (answer.items, answer.tokens, dispatcher.requests) == ((), 0, [])


class ConcurrencyMeter(FakeDispatcher):
    """Records the maximum number of requests in flight."""

    def __init__(self) -> None:
        super().__init__()
        self.most = 0
        self._open = 0
        self._lock = threading.Lock()

    async def call(self, request: Request[ResultT]) -> Routed[ResultT]:
        self._open += 1
        self.most = max(self.most, self._open)
        await asyncio.sleep(0.05)
        self._open -= 1
        return await super().call(request)


@pytest.mark.slow
async def test_at_most_the_given_number_of_requests_is_in_flight() -> None:
    dispatcher = ConcurrencyMeter()
    with served(create_app(dispatcher, ApiSettings())) as url:
        with Client(url) as client:
            client.embed_many(["a"] * 20, limits=BatchLimits(inputs=1), parallel=3)
        assert dispatcher.most == 3
        dispatcher.most = 0
        async with AsyncClient(url) as client:
            await client.embed_many(["a"] * 20, limits=BatchLimits(inputs=1), parallel=3)
        assert dispatcher.most == 3


def test_texts_may_be_a_generator_that_is_read_as_needed(client: Client) -> None:
    taken = 0

    def texts():  # type: ignore[no-untyped-def]
        nonlocal taken
        for taken in range(1, 1001):
            yield f"text {taken}"

    batches = client.embed_batches(texts(), limits=BatchLimits(inputs=10), parallel=2)
    first = next(batches)
    assert (first.start, len(first.embeddings.items)) == (0, 10)
    assert taken < 100
    batches.close()


@pytest.mark.slow
def test_a_busy_server_delays_a_bulk_but_does_not_break_it() -> None:
    dispatcher = FailsAtFirst([Overloaded("full", retry_after_s=0.1)] * 3)
    with served(create_app(dispatcher, ApiSettings())) as url, Client(url) as client:
        answer = client.embed_many(TEXTS[:500], limits=BatchLimits(inputs=50))
    np.testing.assert_array_equal(answer.to_numpy(), np.stack([vector_of(text) for text in TEXTS[:500]]))


def test_an_error_names_the_text_by_its_position_among_all(client: Client) -> None:
    texts = ["a"] * 250
    texts[217] = ""
    with pytest.raises(Refused) as caught:
        client.embed_many(texts, limits=BatchLimits(inputs=50))
    assert caught.value.param == "input[217]"
    assert caught.value.message.startswith("input[217]: ")


@pytest.mark.slow
async def test_an_error_ends_the_open_requests(url: str) -> None:
    async with AsyncClient(url) as client:
        with pytest.raises(Refused, match=r"input\[3\]"):
            await client.embed_many(["a", "a", "a", "", "a", "a"], limits=BatchLimits(inputs=1))
        async with aclosing(client.embed_batches(["a"] * 50, limits=BatchLimits(inputs=1))) as batches:
            async for _ in batches:
                break
    gc.collect()  # asyncio would now report a task whose error was never retrieved


def test_the_message_names_the_text_by_its_position_among_all(client: Client) -> None:
    texts = ["a", "b", "c", "long " * WINDOW_CHARACTERS]
    with pytest.raises(Refused) as caught:
        client.embed_many(texts, limits=BatchLimits(inputs=2), long_input="error")
    assert caught.value.param == "input[3]"
    assert caught.value.message.startswith("input[3]: in its request, input[1] has ")


def test_a_model_that_changes_during_the_call_is_an_error() -> None:
    joining = Joining(2, None)
    item = Embedding(0, b"\0\0\x80?", 1, False)
    joining.add(Batch(0, Embeddings((item,), "one", 1)))
    with pytest.raises(MalformedAnswer, match="from one to another"):
        joining.add(Batch(1, Embeddings((item,), "another", 1)))


def test_devices_and_reasons_are_joined_without_repetition() -> None:
    services = [Service("cuda:0"), Service("cpu", "250 MiB free"), Service("cuda:0"), Service("cpu", "250 MiB free")]
    assert joined_service(services) == Service("cuda:0, cpu", "250 MiB free")
