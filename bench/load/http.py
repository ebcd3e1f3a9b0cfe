"""A bounded HTTP load: N clients, each with one request at a time, mixed routes and lengths; keeps every answer."""

import asyncio
import itertools
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import numpy as np

from bench.load.texts import texts

Body = tuple[str, dict[str, Any]]
"""A path and a JSON body."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The result of one request. `status` 0: no answer."""

    path: str
    sent_s: float
    took_s: float
    status: int
    device: str = ""
    reroute_reason: str = ""
    retry_after: str = ""
    detail: str = ""


@dataclass(slots=True)
class Report:
    """All answers of a load."""

    answers: list[Answer] = field(default_factory=list)

    @property
    def failed(self) -> list[Answer]:
        """Requests that were neither answered nor refused with Retry-After."""
        return [a for a in self.answers if a.status != 200 and not (a.status in (429, 503) and a.retry_after)]

    @property
    def refused(self) -> list[Answer]:
        """Requests that were refused with Retry-After."""
        return [a for a in self.answers if a.status in (429, 503) and a.retry_after]

    def percentile_ms(self, percent: float) -> float:
        """Return a percentile of the latency of answered requests."""
        return float(np.percentile([a.took_s * 1000 for a in self.answers if a.status == 200] or [0.0], percent))

    def longest_gap_s(self) -> float:
        """Return the longest time without a successful answer."""
        ends = sorted(a.sent_s + a.took_s for a in self.answers if a.status == 200)
        return max((b - a for a, b in itertools.pairwise(ends)), default=0.0)

    def statuses(self) -> dict[int, int]:
        """Count the answers by status."""
        return dict(Counter(a.status for a in self.answers))


def mixed_bodies(seed: int, *, max_words: int = 1500) -> Iterator[Body]:
    """Yield random embedding, rerank, classification and relation requests."""
    rng = random.Random(seed)
    source = texts(seed, max_words=max_words)
    while True:
        kind = rng.choice(("embed", "rerank", "classify", "relations"))
        if kind == "embed":
            yield "/v1/embeddings", {"input": [next(source) for _ in range(rng.randint(1, 4))]}
        elif kind == "rerank":
            documents = [next(source) for _ in range(rng.randint(2, 6))]
            yield "/v1/rerank", {"query": " ".join(next(source).split()[:12]), "documents": documents}
        elif kind == "classify":
            yield "/v1/classify", {"input": next(source), "labels": ["code", "prose", "configuration"]}
        else:
            candidates = [next(source) for _ in range(rng.randint(2, 4))]
            yield "/v1/relations", {"source": next(source), "candidates": candidates, "top_k": 2}


async def run_load(
    url: str,
    *,
    clients: int,
    duration_s: float,
    bodies: Callable[[int], Iterator[Body]] = mixed_bodies,
    timeout_s: float = 120.0,
    pause_s: float = 0.0,
    stop: threading.Event | None = None,
) -> Report:
    """Send until `duration_s` is over or `stop` is set, then wait at most `timeout_s` for requests in flight.

    `pause_s`: pause of each client after an answer. 0 sends as fast as the service answers.
    """
    report = Report()
    until_s = time.monotonic() + duration_s
    limits = httpx.Limits(max_connections=clients)
    headers = {"cache-control": "no-store"}  # measure the models, not the cache
    async with httpx.AsyncClient(base_url=url, timeout=timeout_s, limits=limits, headers=headers) as client:

        async def one_client(number: int) -> None:
            for path, body in bodies(number):
                if time.monotonic() >= until_s or (stop is not None and stop.is_set()):
                    return
                report.answers.append(await send(client, path, body))
                if pause_s:
                    await asyncio.sleep(pause_s)

        await asyncio.gather(*(one_client(number) for number in range(clients)))
    return report


async def send(client: httpx.AsyncClient, path: str, body: dict[str, Any] | bytes) -> Answer:
    """Send one request and return its result; never raises because of the service. Bytes are sent unchanged."""
    sent_s = time.monotonic()
    try:
        answer = await (client.post(path, content=body) if isinstance(body, bytes) else client.post(path, json=body))
    except httpx.HTTPError as error:
        return Answer(path, sent_s, time.monotonic() - sent_s, 0, detail=f"{type(error).__name__}: {error}")
    return Answer(
        path,
        sent_s,
        time.monotonic() - sent_s,
        answer.status_code,
        device=answer.headers.get("x-trivet-device", ""),
        reroute_reason=answer.headers.get("x-trivet-reroute-reason", ""),
        retry_after=answer.headers.get("retry-after", ""),
        detail="" if answer.status_code == 200 else answer.text[:200],
    )
