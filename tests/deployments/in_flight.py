"""Requests in flight: a service has accepted them and not answered them yet."""

import re
import signal
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import psutil

from bench.support.served import Served
from tests.chaos.conftest import one, until

INGRESS = re.compile(r"^\s*server SERVE_REPLICA_\S+ (\S+)", re.MULTILINE)


@contextmanager
def requests_in_flight(service: Served, count: int = 16) -> Iterator[list[Future[int]]]:
    """Stop the model during the block, with `count` accepted requests waiting for it; yield their future statuses.

    All of them have been accepted by an ingress when the block starts.
    """

    def ask(number: int) -> int:
        body = {"input": f"sentence number {number}"}
        headers = {"cache-control": "no-store"}
        return httpx.post(f"{service.url}/v1/embeddings", json=body, headers=headers, timeout=60).status_code

    # A new ingress queries the models at its first request; that must be done before the model stops.
    until(lambda: len(ingresses(service)) == len(service.processes("ingress")), "ingress replicas")
    for ingress in ingresses(service):
        httpx.get(f"{ingress}/v1/status", timeout=10).raise_for_status()
    model = one(service, "embedder-cpu")
    with ThreadPoolExecutor(count) as pool:
        model.send_signal(signal.SIGSTOP)
        try:
            asked = [pool.submit(ask, number) for number in range(count)]
            until(lambda: accepted(service) == count, "requests in flight")
            yield asked
        finally:
            with suppress(psutil.NoSuchProcess):  # the service may have ended in the block
                model.send_signal(signal.SIGCONT)


def accepted(service: Served) -> int:
    """Count the embeddings in flight, as any ingress replica reports them for all.

    (HAProxy's counts would not do: while one HAProxy replaces another, each has some of the requests.)
    """
    status = httpx.get(f"{ingresses(service)[0]}/v1/status", timeout=10).raise_for_status().json()
    return int(status["models"]["embedder"]["in_flight"])


def ingresses(service: Served) -> list[str]:
    """Return the URLs of the replicas to which HAProxy sends requests."""
    configuration = ""
    for haproxy in service.processes("haproxy"):  # all have the same configuration
        with suppress(psutil.NoSuchProcess, ValueError):  # an exiting process has no command line
            command = haproxy.cmdline()
            configuration = Path(command[command.index("-f") + 1]).read_text(encoding="utf-8")
    return [f"http://{address}" for address in sorted(set(INGRESS.findall(configuration)))]
