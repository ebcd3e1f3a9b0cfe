"""A closed-loop load: a fixed number of clients, each of which sends its next call after the answer to the last one."""

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from bench.load.workloads import Call

Send = Callable[[Call], Awaitable[None]]


@dataclass(slots=True)
class Measured:
    """The answered sequences, and the time until the last answer."""

    lengths: list[int] = field(default_factory=list)
    """Tokens of each answered sequence."""
    latencies_s: list[float] = field(default_factory=list)
    """Latency of each call; empty if calls were not timed individually."""
    took_s: float = 0.0

    def percentile_ms(self, percent: float) -> float | None:
        """Return a percentile of the calls' latencies; None without latencies."""
        return round(float(np.percentile(self.latencies_s, percent)) * 1000, 1) if self.latencies_s else None


async def run_closed_loop(send: Send, calls: Sequence[Call], *, clients: int, duration_s: float) -> Measured:
    """Send for `duration_s`, then wait for the calls in flight. All calls count, including the time of the wait.

    Every client sends at least one call. The list of calls repeats.
    """
    measured = Measured()
    source = itertools.cycle(calls)
    started_s = time.perf_counter()

    async def client() -> None:
        while True:
            call = next(source)
            sent_s = time.perf_counter()
            await send(call)
            now_s = time.perf_counter()
            measured.latencies_s.append(now_s - sent_s)
            measured.lengths += call.lengths
            if now_s - started_s >= duration_s:
                return

    await asyncio.gather(*(client() for _ in range(clients)))
    measured.took_s = time.perf_counter() - started_s
    return measured


def run_blocks(run: Callable[[list[Call]], None], calls: Sequence[Call], *, block: int, duration_s: float) -> Measured:
    """Run a library without a server: one caller passes `block` calls at a time, at least once."""
    measured = Measured()
    source = itertools.cycle(calls)
    started_s = time.perf_counter()
    while not measured.lengths or time.perf_counter() - started_s < duration_s:
        taken = list(itertools.islice(source, block))
        run(taken)
        for call in taken:
            measured.lengths += call.lengths
    measured.took_s = time.perf_counter() - started_s
    return measured
