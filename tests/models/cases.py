"""Inputs that real clients sent and got wrong results for, over HTTP: cases 1, 2, 8 and 9.

Cases 3 to 7 are settings of checkpoints: they are rows of the table.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx

from tests.models.lanes import Lane, Settings, open_engine_on
from tests.models.observe import Outcome
from tests.models.table import State
from tests.models.texts import QUERY, short_texts
from tests.support.dispatcher import FakeDispatcher
from tests.support.published import bert
from trivet.api.app import create_app
from trivet.api.settings import ApiSettings
from trivet.config import Precision, Task
from trivet.dispatch.protocol import Routed
from trivet.engine.engine import Engine
from trivet.messages import ModelCard, Request, RerankRequest, RerankResult, ResultT


class OverEngine(FakeDispatcher):
    """The fake dispatcher with one real model."""

    def __init__(self, engine: Engine) -> None:
        super().__init__()
        self._engine = engine

    async def call(self, request: Request[ResultT]) -> Routed[ResultT]:
        return Routed(request.checked(await self._engine.run(request)), "cpu")

    async def models(self) -> Sequence[ModelCard]:
        own = self._engine.card
        return [own if card.task == own.task else card for card in await super().models()]


@contextlib.asynccontextmanager
async def _client(
    lane: Lane, path: Path, task: Task, cache: Path, precision: Precision = "fp32"
) -> AsyncIterator[tuple[httpx.AsyncClient, Engine]]:
    engine = open_engine_on(lane, path, task, cache, Settings(precision=precision))
    engine.start()
    transport = httpx.ASGITransport(create_app(OverEngine(engine), ApiSettings()))
    try:
        async with httpx.AsyncClient(transport=transport, base_url="http://trivet") as client:
            yield client, engine
    finally:
        await engine.close()


def _says(response: httpx.Response, word: str) -> bool:
    """Whether anything besides the numbers mentions a word."""
    body = response.json()
    told = {key: value for key, value in body.items() if key not in ("data", "usage")}
    return word in json.dumps([told, dict(response.headers)]).lower()


# ── the cases ───────────────────────────────────────────────────────────────────────────────────────────────────────


async def _saturated(folder: Path, cache: Path) -> Outcome:
    bert.write_ms_marco_minilm(folder, scale=-30.0)
    documents = short_texts(30)
    async with _client("torch", folder, "reranker", cache) as (client, engine):
        direct = await engine.run(RerankRequest(QUERY, documents))
        assert isinstance(direct, RerankResult)
        assert (direct.scores == 1.0).sum() > 3, "the logistic function is to be 1 for several documents"
        body = {"query": QUERY, "documents": list(documents), "raw_scores": True}
        ranked = (await client.post("/rerank", json=body)).json()["results"]
        [best] = (await client.post("/rerank", json=body | {"top_n": 1})).json()["results"]
    scores = [entry["relevance_score"] for entry in ranked]
    problems = [] if scores == sorted(scores, reverse=True) else ["raw scores do not descend"]
    if best["index"] != int(direct.logits.argmax()):
        problems.append("top_n 1 is not the document with the greatest logit")
    return Outcome("wrong" if problems else "exact", "; ".join(problems) or "ordered by logits")


async def _ties(folder: Path, cache: Path) -> Outcome:
    bert.write_ms_marco_minilm(folder)
    documents = short_texts(500)
    async with _client("cpu", folder, "reranker", cache, precision="bf16") as (client, _):
        body = {"query": QUERY, "documents": list(documents), "raw_scores": True}
        answer = await client.post("/rerank", json=body, timeout=120)
    distinct = len({entry["relevance_score"] for entry in answer.json()["results"]})
    return Outcome("exact" if distinct == len(documents) else "wrong", f"{distinct} distinct scores of 500")


async def _no_prompts(folder: Path, cache: Path) -> Outcome:
    bert.write_e5_small(folder)
    async with _client("torch", folder, "embedder", cache) as (client, _):
        answer = await client.post("/v1/embeddings", json={"input": ["x"], "input_type": "query"})
    heeded = answer.status_code >= 400 or _says(answer, "prompt")
    return Outcome("exact" if heeded else "wrong", f"{answer.status_code}, nothing said" if not heeded else "said")


async def _dimensions(folder: Path, cache: Path) -> Outcome:
    bert.write_minilm(folder)
    async with _client("torch", folder, "embedder", cache) as (client, _):
        answer = await client.post("/v1/embeddings", json={"input": ["x"], "dimensions": 16})
    heeded = answer.status_code >= 400 or _says(answer, "dimension")
    return Outcome("exact" if heeded else "wrong", f"{answer.status_code}, nothing said" if not heeded else "said")


@dataclass(frozen=True)
class Case:
    """One of the reported inputs."""

    number: int
    asked: str
    observe: Callable[[Path, Path], Awaitable[Outcome]]
    """(folder for the checkpoint, cache of converted models) → what happened."""
    today: State
    is_slow: bool = False


CASES = [
    Case(1, "`POST /rerank` with `raw_scores`, logits of 17 and more", _saturated, State("exact", "ordered by logits")),
    Case(2, "500 short documents at bf16", _ties, State("exact", "heads compute in fp32"), is_slow=True),
    Case(
        8, "`input_type: query` of a model without prompts", _no_prompts,
        State("exact", "the header `x-trivet-prompt` says `none`; `embedder.prompts` in the configuration gives one"),
    ),
    Case(
        9, "`dimensions` of a model not trained for it", _dimensions,
        State("exact", "the header `x-trivet-dimensions` says `untrained`; `api.untrained_dimensions` can refuse"),
    ),
]  # fmt: skip
