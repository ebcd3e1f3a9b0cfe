import openai
import pytest

from tests.integrations.texts import EMBEDDER, LONG_TEXT, PASSAGES, QUERY, assert_finds_the_best, cosine

pytestmark = pytest.mark.clients


@pytest.fixture
def client(base_url: str) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{base_url}/v1", api_key="none", max_retries=0)


def test_embeddings_travel_as_base64_unless_told_otherwise(client: openai.OpenAI) -> None:
    answer = client.embeddings.create(model=EMBEDDER, input=[QUERY, *PASSAGES])
    query, *passages = [item.embedding for item in answer.data]
    assert_finds_the_best(query, passages)
    assert [item.index for item in answer.data] == list(range(5))
    assert answer.usage.total_tokens > 0


def test_floats_are_the_same_vectors(client: openai.OpenAI) -> None:
    as_base64 = client.embeddings.create(model=EMBEDDER, input=QUERY).data[0].embedding
    as_floats = client.embeddings.create(model=EMBEDDER, input=QUERY, encoding_format="float").data[0].embedding
    assert as_floats == pytest.approx(as_base64, abs=1e-6)


def test_dimensions(client: openai.OpenAI) -> None:
    whole = client.embeddings.create(model=EMBEDDER, input=QUERY).data[0].embedding
    short = client.embeddings.create(model=EMBEDDER, input=QUERY, dimensions=32).data[0].embedding
    assert len(short) == 32
    assert cosine(short, whole[:32]) == pytest.approx(1.0, abs=1e-4)


def test_a_long_text_is_read_whole(client: openai.OpenAI) -> None:
    answer = client.embeddings.create(model=EMBEDDER, input=LONG_TEXT)
    assert answer.data[0].windows > 10
    assert answer.data[0].truncated is False


def test_two_thousand_inputs_in_one_request(client: openai.OpenAI) -> None:
    answer = client.embeddings.create(model=EMBEDDER, input=[f"item {number % 50}" for number in range(2048)])
    assert len(answer.data) == 2048
    assert answer.data[0].embedding == answer.data[50].embedding


def test_models(client: openai.OpenAI) -> None:
    served = [model.id for model in client.models.list()]
    assert len(served) == 3
    assert client.models.retrieve(served[0]).id == served[0]


def test_errors_are_the_sdks_own(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as unknown:
        client.embeddings.create(model="text-embedding-nobody-has", input=QUERY)
    assert unknown.value.code == "model_not_found"
    with pytest.raises(openai.BadRequestError) as empty:
        client.embeddings.create(model=EMBEDDER, input="")
    assert empty.value.param == "input[0]"
    with pytest.raises(openai.BadRequestError) as too_long:
        client.embeddings.create(model=EMBEDDER, input=LONG_TEXT, extra_body={"long_input": "error"})
    assert too_long.value.code == "context_length_exceeded"


async def test_the_async_client(base_url: str) -> None:
    async with openai.AsyncOpenAI(base_url=f"{base_url}/v1", api_key="none", max_retries=0) as client:
        answer = await client.embeddings.create(model=EMBEDDER, input=[QUERY, *PASSAGES])
    query, *passages = [item.embedding for item in answer.data]
    assert_finds_the_best(query, passages)
