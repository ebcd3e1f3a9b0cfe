"""A closed loop: a fixed number of callers, each sending its next call when the last one has been answered."""

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
    """What came back, and how long it took until the last of it had."""

    lengths: list[int] = field(default_factory=list)
    """Tokens of each answered sequence."""
    latencies_s: list[float] = field(default_factory=list)
    """Of each call; empty where calls were not timed one by one."""
    took_s: float = 0.0

    def percentile_ms(self, percent: float) -> float | None:
        """Of the calls' latencies; None without any."""
        return round(float(np.percentile(self.latencies_s, percent)) * 1000, 1) if self.latencies_s else None


async def run_closed_loop(send: Send, calls: Sequence[Call], *, clients: int, duration_s: float) -> Measured:
    """Send for `duration_s`, then wait for what is under way: all work sent is counted, and all of its time.

    Every caller sends at least one call. The list begins anew when it ends.
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
    """For a library without a server: one caller hands over `block` calls at a time, at least once."""
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
