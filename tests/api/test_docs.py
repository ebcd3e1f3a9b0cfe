"""docs/api.md says what the application does."""

import json
import re
import shlex

import httpx
import pytest

from tests.api.conftest import Connect
from tests.api.dialect_table import DOCUMENT, filled
from tests.support.dispatcher import FakeDispatcher
from tests.support.shared_app import application
from trivet.api.settings import ApiSettings

TEXT = DOCUMENT.read_text()
BASE_URL = "http://127.0.0.1:8000"


def _curls() -> list[tuple[str, str | None]]:
    """(path, body) of every call on the page."""
    calls = []
    for block in re.findall(r"```sh\n(.*?)```", TEXT, re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            command, url, *options = shlex.split(line)
            assert command == "curl"
            assert url.startswith(BASE_URL)
            calls.append((url.removeprefix(BASE_URL), options[options.index("-d") + 1] if "-d" in options else None))
    return calls


@pytest.mark.slow
async def test_the_tables_are_up_to_date() -> None:
    assert await filled(TEXT) == TEXT, "run: python -m tests.api.dialect_table"


@pytest.mark.parametrize(("path", "body"), _curls(), ids=lambda value: str(value)[:40])
async def test_each_call_is_answered(client: httpx.AsyncClient, path: str, body: str | None) -> None:
    if body is None:
        response = await client.get(path)
    else:
        response = await client.post(path, content=body, headers={"content-type": "application/json"})
    assert response.status_code == 200, response.text


@pytest.mark.slow
def test_each_route_has_a_call() -> None:
    called = {(path, "get" if body is None else "post") for path, body in _curls()}
    named = {("/v1/models/{model_id}" if path == "/v1/models/embedder" else path, method) for path, method in called}
    schema = application(ApiSettings())[0].openapi()
    assert named == {(path, method) for path, methods in schema["paths"].items() for method in methods}


async def test_the_example_of_a_stream_has_the_lines_of_a_stream(connect: Connect) -> None:
    [block] = re.findall(r"```json\n(.*?)```", TEXT, re.DOTALL)
    shown = {line["object"]: set(line) for line in map(json.loads, block.splitlines())}
    client = connect(FakeDispatcher())
    response = await client.post("/v1/embeddings", json={"input": "a"}, headers={"accept": "application/x-ndjson"})
    assert shown == {line["object"]: set(line) for line in map(json.loads, response.text.splitlines())}
