"""Other libraries' servers: starts one on loopback, sends requests in its dialect, measures it and stops it.

Each runs in a separate process. The client runs on the same cores, but uses little CPU time compared with a model.
"""

import asyncio
import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import httpx

from bench.load.closed_loop import Measured, run_closed_loop
from bench.load.workloads import Call
from bench.support.machine import Usage, peak_rss_mib
from bench.support.ports import free_port
from trivet.config import Task

ServerKind = Literal["infinity", "naive"]
START_LIMIT_S = 180.0
CALL_LIMIT_S = 300.0

_QUIET = {
    "INFINITY_ANONYMOUS_USAGE_STATS": "0",
    "DO_NOT_TRACK": "1",
    "HF_HUB_OFFLINE": "1",
    "TOKENIZERS_PARALLELISM": "false",
}


@dataclass(frozen=True, slots=True)
class Server:
    """A server of another library for one model. `python` is the interpreter of the library's environment."""

    kind: ServerKind
    task: Task
    model: Path
    dtype: str
    python: Path
    threads: int | None = None
    """Threads of a forward; None: all cores."""

    def command(self, port: int) -> list[str]:
        """Return the command that starts it, with its defaults except for address and dtype."""
        if self.kind == "naive":
            arguments = ["-m", "bench.resilience.naive_server", "--task", self.task, "--model", str(self.model)]
            return [str(self.python), *arguments, "--port", str(port)]
        return [
            str(self.python.with_name("infinity_emb")),
            *("v2", "--model-id", str(self.model), "--served-model-name", "peer"),
            *("--host", "127.0.0.1", "--port", str(port), "--device", "cpu", "--dtype", self.dtype),
            # Without its own warm-up of thousands of tokens; the benchmark warms up every contender.
            *("--engine", "torch", "--no-model-warmup", "--log-level", "warning"),
        ]

    def request(self, call: Call) -> tuple[str, dict[str, Any]]:
        """Return the path and the JSON body of a call."""
        if self.kind == "naive":
            if self.task == "embedder":
                return "/embed", {"texts": call.others}
            if self.task == "reranker":
                return "/rerank", {"query": call.first, "documents": call.others}
            return "/classify", {"text": call.first, "labels": call.others}
        if self.task == "embedder":
            return "/embeddings", {"model": "peer", "input": call.others}
        if self.task == "reranker":
            return "/rerank", {"model": "peer", "query": call.first, "documents": call.others}
        # infinity classifies only single texts, so a pair is joined with the tokenizer's separator.
        return "/classify", {"model": "peer", "input": [f"{first}[SEP]{other}" for first, other in call.pairs]}


@contextlib.contextmanager
def running(server: Server, log: Path) -> Iterator[tuple[str, int]]:
    """Start a server, wait until it is healthy, and yield its URL and PID. Its output goes to `log`.

    Raises:
        RuntimeError: the server ended, or was not healthy in time; the message has the last lines of its output.
    """
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    environment = {**os.environ, **_QUIET} | thread_settings(server.threads)
    with log.open("wb") as output:
        process = subprocess.Popen(server.command(port), stdout=output, stderr=subprocess.STDOUT, env=environment)
    try:
        until_s = time.monotonic() + START_LIMIT_S
        while not _is_healthy(url):
            if process.poll() is not None or time.monotonic() > until_s:
                tail = log.read_text(errors="replace")[-600:]
                raise RuntimeError(f"{server.kind} did not start: {tail}")
            time.sleep(0.5)
        yield url, process.pid
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def thread_settings(threads: int | None) -> dict[str, str]:
    """Return the environment that limits torch to this many threads."""
    return {} if threads is None else {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}


def _is_healthy(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health", timeout=2).status_code == 200
    except httpx.TransportError:
        return False  # not listening yet


def measure_server(
    server: Server, calls: Sequence[Call], *, clients: int, warm_up_s: float, duration_s: float, log: Path
) -> tuple[Measured, dict[str, Any]]:
    """Start a server, warm it up, measure it and stop it."""
    with running(server, log) as (url, pid):
        return asyncio.run(_measure(server, url, pid, calls, clients, warm_up_s, duration_s))


async def _measure(
    server: Server, url: str, pid: int, calls: Sequence[Call], clients: int, warm_up_s: float, duration_s: float
) -> tuple[Measured, dict[str, Any]]:
    limits = httpx.Limits(max_connections=clients)
    async with httpx.AsyncClient(base_url=url, timeout=CALL_LIMIT_S, limits=limits) as client:

        async def send(call: Call) -> None:
            path, body = server.request(call)
            (await client.post(path, json=body)).raise_for_status()

        await run_closed_loop(send, calls[::-1], clients=2, duration_s=warm_up_s)
        before = Usage.of(pid)
        measured = await run_closed_loop(send, calls, clients=clients, duration_s=duration_s)
        return measured, Usage.of(pid).since(before, measured.took_s) | {"peak_rss_mib": peak_rss_mib(pid)}


def this_python() -> Path:
    """Return the interpreter that runs the benchmark."""
    return Path(sys.executable)
