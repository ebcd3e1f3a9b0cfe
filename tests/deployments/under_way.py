"""Requests that a service has accepted and not answered yet."""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import httpx

from bench.served import Served
from tests.chaos.conftest import until, waiting_tokens

TEXT = "a sentence of some length, which is said again and again. " * 240
"""Some 3,000 tokens: sixteen of them are seconds of work."""


@contextmanager
def requests_under_way(service: Served, count: int = 16) -> Iterator[list[Future[int]]]:
    """Statuses to come of embeddings that wait in the service when the block begins.

    A request that is still on its way has not been accepted, and is nobody's to answer.
    """
    sent: list[str] = []

    def note(event: str, _: Any) -> None:
        if event == "http11.send_request_body.complete":
            sent.append(event)

    def ask(number: int) -> int:
        body = {"input": f"{number} {TEXT}"}
        with httpx.Client(timeout=60) as client:
            answer = client.post(
                f"{service.url}/v1/embeddings",
                json=body,
                headers={"cache-control": "no-store"},
                extensions={"trace": note},
            )
        return answer.status_code

    with ThreadPoolExecutor(count) as pool:
        asked = [pool.submit(ask, number) for number in range(count)]
        until(lambda: len(sent) == count and waiting_tokens(service) > 0, "requests under way", limit_s=20)
        yield asked
