"""A steady load during a test: 16 clients, mixed routes and lengths, with pauses so that only faults cause errors."""

import asyncio
import contextlib
import itertools
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from bench.load.http import Body, Report, mixed_bodies, run_load

CLIENTS = 16
PAUSE_S = 0.8
MAX_WORDS = 100
LONGEST_S = 240.0
TIMEOUT_S = 60.0


def bodies(seed: int) -> Iterator[Body]:
    return mixed_bodies(seed, max_words=MAX_WORDS)


@contextlib.contextmanager
def steady_load(url: str, seed: int = 0) -> Iterator[Report]:
    """Run the load during the block; the report is complete when the block has ended."""
    next(bodies(0))  # reads the files that the texts are made from
    stop = threading.Event()
    report = Report()

    def run() -> None:
        load = run_load(
            url,
            clients=CLIENTS,
            duration_s=LONGEST_S,
            bodies=lambda number: bodies(seed * CLIENTS + number),
            timeout_s=TIMEOUT_S,
            pause_s=PAUSE_S,
            stop=stop,
        )
        report.answers.extend(asyncio.run(load).answers)

    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(run)
        try:
            yield report
        finally:
            stop.set()
            running.result()


def row(report: Report) -> dict[str, Any]:
    """Summarise a report as a row of the table."""
    ends = sorted(a.sent_s + a.took_s for a in report.answers if a.status == 200)
    gap_s = max((b - a for a, b in itertools.pairwise(ends)), default=0.0)
    failed = report.failed
    return {
        "sent": len(report.answers),
        "answered": sum(a.status == 200 for a in report.answers),
        "refused_with_retry_after": len(report.refused),
        "failed": len(failed),
        "longest_gap_s": round(gap_s, 2),
        "slowest_s": round(max((a.took_s for a in report.answers if a.status == 200), default=0.0), 2),
        "failures": sorted({f"{a.status} {a.detail}"[:160] for a in failed})[:5],
    }
