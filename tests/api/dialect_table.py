"""Writes the tables of docs/api.md from the running application: `python -m tests.api.dialect_table`.

What the tables say was measured, by sending each dialect the same four troubles.
"""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.support.dispatcher import FakeDispatcher
from trivet.api.app import create_app
from trivet.api.dialect import RULES
from trivet.api.key_ring import KeyRing, hash_key
from trivet.api.settings import ApiSettings
from trivet.errors import Overloaded

DOCUMENT = Path(__file__).parents[2] / "docs" / "api.md"

LONG = "word " * 600
KEY = "the-right-key"

SERVERS = {
    "native": "native",
    "rerank_v1": "native, Jina, Cohere v1",
    "cohere_v2": "Cohere v2",
    "tei": "text-embeddings-inference",
    "vllm": "vLLM",
    "infinity": "infinity",
    "ollama": "Ollama",
}


@dataclass(frozen=True)
class Sample:
    """A request of one dialect, with a text that is too long for one window."""

    name: str
    path: str
    body: dict[str, Any]


SAMPLES = (
    Sample("OpenAI, native", "/v1/embeddings", {"input": LONG}),
    Sample("Jina, Cohere v1, native", "/v1/rerank", {"query": "q", "documents": [LONG]}),
    Sample("Cohere v2", "/v2/rerank", {"query": "q", "documents": [LONG]}),
    Sample("text-embeddings-inference", "/embed", {"inputs": LONG, "truncate": True}),
    Sample("vLLM", "/score", {"text_1": "q", "text_2": LONG}),
    Sample("infinity", "/embeddings", {"input": LONG}),
    Sample("Ollama", "/api/embed", {"model": "embedder", "input": LONG}),
)


async def _send(
    sample: Sample, dispatcher: FakeDispatcher, settings: ApiSettings | None = None, **changes: Any
) -> httpx.Response:
    app = create_app(dispatcher, settings or ApiSettings())
    headers = changes.pop("headers", {})
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://trivet") as client:
        return await client.post(sample.path, json={**sample.body, **changes}, headers=headers)


def _outcome(response: httpx.Response) -> str:
    """Status, `Retry-After` and the shape of the error, its words left out."""
    retry = f", `Retry-After: {response.headers['retry-after']}`" if "retry-after" in response.headers else ""
    return f"{response.status_code}{retry} `{json.dumps(_without_words(response.json()), ensure_ascii=False)}`"


def _without_words(body: Any) -> Any:
    if isinstance(body, dict):
        worded = {"message", "detail"} | ({"error"} if isinstance(body.get("error"), str) else set())
        return {key: "…" if key in worded else _without_words(value) for key, value in body.items()}
    return body


def _read(response: httpx.Response) -> str:
    windows = response.headers.get("x-trivet-windows", "1")
    cut = response.headers.get("x-trivet-truncated", "0")
    return f"{response.status_code}, read in {windows} windows, {cut} cut"


async def _row(sample: Sample) -> list[str]:
    overloaded = FakeDispatcher(error=Overloaded("the queue is full", retry_after_s=7))
    guarded = ApiSettings(keys=KeyRing.parse(f"ann {hash_key(KEY)}", origin="table"))
    unknown = await _send(sample, FakeDispatcher(), model="nobody-has-this")
    return [
        sample.name,
        _read(await _send(sample, FakeDispatcher())),
        _outcome(await _send(sample, FakeDispatcher(), headers={"x-trivet-long-input": "error"})),
        _outcome(unknown) if unknown.is_error else f"{unknown.status_code}, the name is not looked at",
        _outcome(await _send(sample, overloaded)),
        _outcome(await _send(sample, FakeDispatcher(), guarded, headers={"authorization": "Bearer wrong"})),
    ]


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (head, ["---"] * len(head), *rows))


def choice_table() -> str:
    """The rules of `trivet.api.dialect`."""
    rows = [
        [f"`{rule.path}`", " or ".join(f"`{field}`" for field in rule.fields) or "–", SERVERS[rule.dialect]]
        for rule in RULES
    ]
    return _table(["path", "if the body has", "it is answered as"], rows)


async def trouble_table() -> str:
    """What each dialect does in trouble."""
    head = ["dialect", "too long", "too long, `x-trivet-long-input: error`", "unknown model", "overload", "bad key"]
    return _table(head, [await _row(sample) for sample in SAMPLES])


async def filled(text: str) -> str:
    """The document with both tables brought up to date, between their markers."""
    for name, table in (("choice", choice_table()), ("trouble", await trouble_table())):
        begin, end = f"<!-- {name} table: written by tests/api/dialect_table.py -->", f"<!-- end of {name} table -->"
        before, _, rest = text.partition(begin)
        _, _, after = rest.partition(end)
        text = f"{before}{begin}\n{table}\n{end}{after}"
    return text


if __name__ == "__main__":
    DOCUMENT.write_text(asyncio.run(filled(DOCUMENT.read_text())))
