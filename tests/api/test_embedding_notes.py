"""What an embedding's headers say of prompts and dimensions, in every dialect."""

from dataclasses import replace

import pytest

from tests.api.conftest import Connect
from tests.support.dispatcher import FakeDispatcher
from trivet.api.service import embed_notes
from trivet.api.settings import ApiSettings
from trivet.messages import EmbedRequest, ModelCard

CARD = ModelCard("embedder", "one", "r", 512, dimensions=64, prompts={"query": "q: "}, trained_dimensions=(16,))


@pytest.mark.parametrize(
    ("request_", "notes"),
    [
        (EmbedRequest(("x",)), {}),
        (EmbedRequest(("x",), input_type="query"), {"x-trivet-prompt": "query"}),
        (EmbedRequest(("x",), input_type="document"), {"x-trivet-prompt": "none"}),
        (EmbedRequest(("x",), prompt_name="query"), {"x-trivet-prompt": "query"}),
        (EmbedRequest(("x",), dimensions=64), {}),
        (EmbedRequest(("x",), dimensions=16), {}),
        (EmbedRequest(("x",), dimensions=32), {"x-trivet-dimensions": "untrained"}),
    ],
)
def test_notes(request_: EmbedRequest, notes: dict[str, str]) -> None:
    assert embed_notes(CARD, request_) == notes


def test_the_default_prompt_is_named() -> None:
    card = replace(CARD, default_prompt_name="query")
    assert embed_notes(card, EmbedRequest(("x",), input_type="document")) == {"x-trivet-prompt": "query"}


async def test_untrained_dimensions_can_be_refused(connect: Connect) -> None:
    client = connect(FakeDispatcher(), ApiSettings(untrained_dimensions="refuse"))
    response = await client.post("/v1/embeddings", json={"input": "a", "dimensions": 2})
    assert response.status_code == 400
    assert response.json()["error"]["code"] == "untrained_dimensions"
