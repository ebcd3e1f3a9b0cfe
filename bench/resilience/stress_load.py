"""The requests of the stress test: all routes, 5 to 8,000 tokens, malformed requests, and callers that disconnect."""

import asyncio
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import httpx

from bench.load.http import Answer, send
from bench.load.texts import package_corpus

Class = Literal["short", "medium", "long", "malformed", "leaver"]

LEAVERS = 0.05
MALFORMED = 0.05
SHORT = 0.6
LONG = 0.05
"""Shares of the other requests; the remainder is medium."""

SHORT_TOKENS = (5, 40)
MEDIUM_TOKENS = (40, 1000)
LONG_TOKENS = (4000, 8000)
CHARACTERS_PER_TOKEN = 3.3
"""Approximate, since the models' tokenizers differ."""

LABELS = ("code", "prose", "configuration", "test")
MALFORMED_REQUESTS: tuple[tuple[str, Any], ...] = (
    ("/v1/embeddings", b'{"input": ["a"'),
    ("/v1/embeddings", b"\xff\xfe"),
    ("/v1/embeddings", {"input": []}),
    ("/v1/embeddings", {"input": [1, "a", None]}),
    ("/v1/embeddings", {"input": "a", "model": "nobody/has-this"}),
    ("/v1/embeddings", {"input": "a", "dimensions": -1}),
    ("/v1/rerank", {"query": "a"}),
    ("/v1/rerank", {"query": "", "documents": "a"}),
    ("/v1/classify", {"input": "a", "labels": []}),
    ("/v1/classify", {"labels": ["a"], "input": {"text": 1}}),
    ("/v1/relations", {"source": "a", "candidates": [None]}),
    ("/v1/relations", {"pairs": "a"}),
    ("/v1/nothing", {}),
    ("/v1/embeddings", {"input": ["a"] * 5000}),
)


@dataclass(frozen=True, slots=True)
class Planned:
    """One request that is not sent yet."""

    kind: Class
    path: str
    body: Any
    patience_s: float | None = None
    """When its caller disconnects; None: never."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """One request's class and result."""

    kind: Class
    answer: Answer


class Writer:
    """Writes requests. The same seed gives the same requests on the same installation."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._segments = package_corpus()

    def text(self, tokens: tuple[int, int]) -> str:
        """Return real code and prose with a number of tokens that is log-uniform between the two."""
        low, high = tokens
        wanted = int(low * (high / low) ** self._random.random() * CHARACTERS_PER_TOKEN)
        written: list[str] = []
        size = 0
        while size < wanted:
            written.append(self._random.choice(self._segments))
            size += len(written[-1]) + 1
        return "\n".join(written)[:wanted]

    def next(self) -> Planned:
        """Return a request of a random class."""
        drawn = self._random.random()
        if drawn < MALFORMED:
            path, body = self._random.choice(MALFORMED_REQUESTS)
            return Planned("malformed", path, body)
        if drawn < MALFORMED + LEAVERS:
            kind = self._kind()
            return Planned("leaver", *self.request(kind), patience_s=self._random.uniform(0.001, 1.0))
        kind = self._kind()
        return Planned(kind, *self.request(kind))

    def _kind(self) -> Class:
        drawn = self._random.random()
        return "short" if drawn < SHORT else "long" if drawn < SHORT + LONG else "medium"

    def request(self, kind: Class) -> tuple[str, dict[str, Any]]:
        """Return path and body: short and long requests have one or two sequences, medium ones several."""
        tokens = {"short": SHORT_TOKENS, "long": LONG_TOKENS}.get(kind, MEDIUM_TOKENS)
        count = self._random.randint(2, 6) if kind == "medium" else 1
        texts = [self.text(tokens) for _ in range(count)]
        route = self._random.choice(("embeddings", "rerank", "classify", "relations"))
        if route == "embeddings":
            return "/v1/embeddings", {"input": texts}
        if route == "rerank":
            return "/v1/rerank", {"query": self.text((5, 20)), "documents": texts}
        if route == "classify":
            return "/v1/classify", {"input": texts[0], "labels": list(LABELS[: 2 if kind != "medium" else 4])}
        return "/v1/relations", {"source": self.text((5, 40)), "candidates": texts[:3], "top_k": 2}


async def ask(client: httpx.AsyncClient, planned: Planned) -> Answer:
    """Send a request, and disconnect when its caller's patience ends (`status` -1)."""
    if planned.patience_s is None:
        return await send(client, planned.path, planned.body)
    sent_s = time.monotonic()
    try:
        async with asyncio.timeout(planned.patience_s):
            return await send(client, planned.path, planned.body)
    except TimeoutError:
        return Answer(planned.path, sent_s, time.monotonic() - sent_s, -1)


async def closed_loop(
    client: httpx.AsyncClient, clients: int, duration_s: float, draw: Callable[[int], Callable[[], Planned]]
) -> list[Outcome]:
    """Run clients that send one request at a time; `draw(number)` returns a source of requests for one client."""
    outcomes: list[Outcome] = []
    until_s = time.monotonic() + duration_s

    async def one(number: int) -> None:
        following = draw(number)
        while time.monotonic() < until_s:
            planned = following()
            outcomes.append(Outcome(planned.kind, await ask(client, planned)))

    await asyncio.gather(*(one(number) for number in range(clients)))
    return outcomes


async def open_loop(
    client: httpx.AsyncClient,
    clients: int,
    duration_s: float,
    per_s: float,
    draw: Callable[[int], Callable[[], Planned]],
) -> list[Outcome]:
    """Send requests at random times, `per_s` on average, regardless of the answers; at most `clients` are open.

    If all clients are busy, the first free one sends the request.
    """
    outcomes: list[Outcome] = []
    arrivals: asyncio.Queue[float | None] = asyncio.Queue(maxsize=clients)

    async def arrive() -> None:
        rng = random.Random(0)
        started_s = at_s = time.monotonic()
        while at_s < started_s + duration_s:
            at_s += rng.expovariate(per_s)
            await asyncio.sleep(at_s - time.monotonic())
            if time.monotonic() > started_s + duration_s:
                break
            await arrivals.put(at_s)
        for _ in range(clients):
            await arrivals.put(None)

    async def one(number: int) -> None:
        following = draw(number)
        while await arrivals.get() is not None:
            planned = following()
            outcomes.append(Outcome(planned.kind, await ask(client, planned)))

    await asyncio.gather(arrive(), *(one(number) for number in range(clients)))
    return outcomes


def short_ones(writer: Writer) -> Callable[[], Planned]:
    """Return a source of short requests only, for the idle service."""
    return lambda: Planned("short", *writer.request("short"))


def of_class(outcomes: Sequence[Outcome], *kinds: Class) -> list[Answer]:
    """Return the answers to requests of these classes."""
    return [outcome.answer for outcome in outcomes if outcome.kind in kinds]
