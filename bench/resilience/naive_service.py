"""Runs `bench.resilience.naive_server` for all three starter models, behind a client with Trivet's routes.

Each model runs in one process. A request for relations becomes a rerank and a classification of each candidate kept, as
a user of that server would send them.
"""

import contextlib
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import httpx
import psutil

from bench.support.servers import Server, running, this_python
from deployments.service.host_memory import ProcessMemory, tree
from trivet.config import DEFAULT_RELATIONS, TASKS, Task
from trivet.paths import cache_dir
from trivet.starter import prepare_starter


@dataclass(frozen=True, slots=True)
class NaiveService:
    """Three servers, one per model."""

    urls: dict[Task, str]
    pids: dict[Task, int]

    def memory(self) -> list[ProcessMemory]:
        """Measure every process of the servers."""
        measured = []
        for task, pid in self.pids.items():
            for process in tree(psutil.Process(pid)):
                memory = process.memory_full_info()
                measured.append(ProcessMemory(process.pid, f"naive {task}", memory.pss, memory.rss))
        return measured


@contextlib.contextmanager
def naive_service() -> Iterator[NaiveService]:
    """Run the three servers during the block."""
    urls: dict[Task, str] = {}
    pids: dict[Task, int] = {}
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        for task in TASKS:
            server = Server("naive", task, prepare_starter(task, cache_dir(None)), "fp32", this_python())
            urls[task], pids[task] = stack.enter_context(running(server, folder / f"{task}.log"))
        yield NaiveService(urls, pids)


class NaiveClient:
    """The part of `httpx.AsyncClient` that the load needs."""

    def __init__(self, service: NaiveService, timeout_s: float) -> None:
        self._urls = service.urls
        self._client = httpx.AsyncClient(timeout=timeout_s)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.aclose()

    async def post(self, path: str, *, json: Any = None, content: bytes | None = None) -> httpx.Response:
        """Send a request to the right server. Malformed requests go to the embedder unchanged."""
        if content is not None:
            return await self._client.post(f"{self._urls['embedder']}/embed", content=content)
        try:
            return await self._post_valid(path, json)
        except (KeyError, TypeError):
            return await self._client.post(f"{self._urls['embedder']}/embed", json=json)

    async def _post_valid(self, path: str, body: dict[str, Any]) -> httpx.Response:
        if path == "/v1/rerank":
            return await self._rerank(body["query"], body["documents"])
        if path == "/v1/classify":
            return await self._classify(body["input"], body["labels"])
        if path == "/v1/relations":
            source, candidates = body["source"], body["candidates"]
            answer = await self._rerank(source, candidates)
            for candidate in candidates[: body["top_k"]] if answer.status_code == 200 else []:
                answer = await self._classify(f"{source}\n{candidate}", list(DEFAULT_RELATIONS.values()))
            return answer
        return await self._client.post(f"{self._urls['embedder']}/embed", json={"texts": body["input"]})

    async def _rerank(self, query: Any, documents: Any) -> httpx.Response:
        return await self._client.post(
            f"{self._urls['reranker']}/rerank", json={"query": query, "documents": documents}
        )

    async def _classify(self, text: Any, labels: Any) -> httpx.Response:
        return await self._client.post(f"{self._urls['classifier']}/classify", json={"text": text, "labels": labels})
