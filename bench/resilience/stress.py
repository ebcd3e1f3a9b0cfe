"""A stress test of three minutes (`python -m bench.resilience.stress`), or half an hour at half load (`--soak`).

32 clients send twice the measured capacity, to all four routes, with 5 to 8,000 tokens. One request in twenty is
malformed, and one caller in twenty disconnects early. The test passes if

- no request got a 5xx other than 503 with Retry-After, no malformed request was accepted, no connection broke, - every
request ended within its deadline, - host memory (PSS of all processes, including Ray's) grew by at most 5 % after 30 s
of load; in the soak test by at most
  1 MB per 1,000 requests after 5 minutes.

It reports latency by length. `naive` sends the same requests to the server of `bench.resilience.naive_server`, without
a verdict. Each case is stored in the result file under its name.
"""

import argparse
import asyncio
import contextlib
import json
import statistics
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import httpx
import numpy as np

from bench.load.http import Answer
from bench.resilience.naive_service import NaiveClient, naive_service
from bench.resilience.stress_load import (
    Outcome,
    Writer,
    closed_loop,
    of_class,
    open_loop,
    short_ones,
)
from bench.support.machine import describe_machine
from bench.support.served import Served, served
from deployments.service.host_memory import ProcessMemory, by_role

Case = Literal["cpu", "simulated", "full", "lean", "naive"]

CLIENTS = 32
DEADLINE_S = 60.0
HANG_S = 5.0
"""Tolerance for answers after the deadline, since the client uses the same cores."""
WARM_S = 30.0
SOAK_WARM_S = 300.0
"""Time until all sizes of kernels, buffers and connections have occurred; later growth is a leak."""
GROWTH_LIMIT = 0.05
SLOPE_LIMIT_MIB = 1.0
"""Per 1,000 requests."""
SAMPLE_S = 5.0
MIB = 1024**2
GIB = 1024**3

SQUEEZE_GIB = (0.0, 4.0, 7.8, 6.5, 7.8, 0.0)
"""Memory of the external process on the simulated 8 GB GPU, in equal steps of time."""


@dataclass(frozen=True, slots=True)
class Sample:
    """Host memory at one moment, in seconds after the start."""

    at_s: float
    pss_mib: float
    by_role_mib: dict[str, float]


class MemoryWatch:
    """Samples the service's memory on a separate thread."""

    def __init__(self, measure: Callable[[], list[ProcessMemory]], every_s: float) -> None:
        self._measure = measure
        self._every_s = every_s
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, name="memory")
        self.started_s = 0.0
        self.samples: list[Sample] = []
        self.peak: list[ProcessMemory] = []

    def __enter__(self) -> "MemoryWatch":
        self.started_s = time.monotonic()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    @property
    def peak_mib(self) -> float:
        return max(sample.pss_mib for sample in self.samples)

    def _run(self) -> None:
        while True:
            measured = self._measure()
            total_mib = sum(one.pss_bytes for one in measured) / MIB
            if not self.samples or total_mib > self.peak_mib:
                self.peak = measured
            at_s = round(time.monotonic() - self.started_s, 1)
            roles = {role: size / MIB for role, (_, size) in by_role(measured).items()}
            self.samples.append(Sample(at_s, round(total_mib, 1), roles))
            if self._done.wait(self._every_s):
                return


def growth(samples: Sequence[Sample], warm_s: float = WARM_S) -> float:
    """Return the growth from the first to the last fifth of the samples after `warm_s`, by medians; 0.05 is 5 %."""
    first, last = first_and_last(samples, warm_s)
    return statistics.median(one.pss_mib for one in last) / statistics.median(one.pss_mib for one in first) - 1


def growth_by_role_mib(samples: Sequence[Sample], warm_s: float = WARM_S) -> dict[str, float]:
    """Return the growth by role in MiB, for roles that changed by at least 1 MiB, the largest first."""
    first, last = first_and_last(samples, warm_s)

    def held_mib(some: Sequence[Sample], role: str) -> float:
        return statistics.median(one.by_role_mib.get(role, 0.0) for one in some)

    roles = {role for sample in samples for role in sample.by_role_mib}
    grown = {role: round(held_mib(last, role) - held_mib(first, role), 1) for role in roles}
    return dict(sorted(((r, m) for r, m in grown.items() if abs(m) >= 1), key=lambda item: -item[1]))


def first_and_last(samples: Sequence[Sample], warm_s: float) -> tuple[Sequence[Sample], Sequence[Sample]]:
    """Return the first and the last fifth of the samples after `warm_s`."""
    warm = [sample for sample in samples if sample.at_s >= warm_s]
    fifth = max(1, len(warm) // 5)
    return warm[:fifth], warm[-fifth:]


def slope_mib_per_s(samples: Sequence[Sample], warm_s: float = WARM_S) -> float:
    """Return the slope of a straight line through the samples after `warm_s`."""
    warm = [sample for sample in samples if sample.at_s >= warm_s]
    return float(np.polyfit([one.at_s for one in warm], [one.pss_mib for one in warm], 1)[0])


def latency(answers: Sequence[Answer]) -> dict[str, float | int]:
    """Summarise the latency of the answered requests."""
    took_ms = [answer.took_s * 1000 for answer in answers if answer.status == 200]
    if not took_ms:
        return {"answered": 0}
    p50, p99 = (float(np.percentile(took_ms, percent)) for percent in (50, 99))
    return {"answered": len(took_ms), "p50_ms": round(p50), "p99_ms": round(p99), "max_ms": round(max(took_ms))}


def timeline(outcomes: Sequence[Outcome], started_s: float, every_s: float) -> list[dict[str, float]]:
    """Count answers, and summarise the latency of short requests, per interval of `every_s`."""
    bins: dict[int, list[Outcome]] = {}
    for outcome in outcomes:
        ended_s = outcome.answer.sent_s + outcome.answer.took_s - started_s
        bins.setdefault(int(ended_s // every_s), []).append(outcome)
    rows = []
    for index in sorted(bins):
        short = latency(of_class(bins[index], "short"))
        answered = sum(one.answer.status == 200 for one in bins[index])
        rows.append({"at_s": index * every_s, "answered": answered, **{f"short_{k}": v for k, v in short.items()}})
    return rows


def complaints(outcomes: Sequence[Outcome], deadline_s: float = DEADLINE_S) -> list[str]:
    """Describe every violation of the criteria in one line."""
    found = []
    for kind, answer in ((outcome.kind, outcome.answer) for outcome in outcomes):
        details = f"{kind} {answer.path} {answer.status} after {answer.took_s:.1f} s {answer.detail}"
        if answer.status == -1:
            continue  # the caller disconnected on purpose
        if answer.status == 0:
            found.append(f"broken: {details}")
        elif answer.status >= 500 and not (answer.status == 503 and answer.retry_after):
            found.append(f"5xx: {details}")
        elif kind == "malformed" and not (400 <= answer.status < 430 and answer.status != 408):
            found.append(f"malformed request accepted: {details}")
        elif (
            kind in ("short", "medium", "long") and answer.status in range(400, 500) and answer.status not in (408, 429)
        ):
            found.append(f"valid request refused: {details}")
        elif answer.status == 429 and not answer.retry_after:
            found.append(f"no Retry-After: {details}")
        if answer.took_s > deadline_s + HANG_S:
            found.append(f"hung: {details}")
    return found


async def run(
    client: httpx.AsyncClient, *, clients: int, duration_s: float, load: float, calibrate_s: float
) -> tuple[list[Outcome], dict[str, Any], float]:
    """Measure idle latency and capacity, then run the load; return its outcomes, those figures, and its start time."""
    idle = await closed_loop(client, 1, calibrate_s / 2, lambda number: short_ones(Writer(900 + number)))
    full = await closed_loop(client, clients, calibrate_s, lambda number: Writer(1000 + number).next)
    ended_s = max(o.answer.sent_s + o.answer.took_s for o in full) - min(o.answer.sent_s for o in full)
    capacity_per_s = len(full) / ended_s
    started_s = time.monotonic()
    outcomes = await open_loop(client, clients, duration_s, load * capacity_per_s, lambda number: Writer(number).next)
    figures = {
        "idle_short": latency(of_class(idle, "short")),
        "capacity_per_s": round(capacity_per_s, 2),
        "offered_per_s": round(load * capacity_per_s, 2),
        "complaints_while_calibrating": complaints([*idle, *full])[:5],
    }
    return outcomes, figures, started_s


def args_of(case: Case, duration_s: float, full: Path, cache: str | None) -> dict[str, Any]:
    """Return the application's configuration for a case."""
    args: dict[str, Any] = {
        "device": "simulated" if case == "simulated" else "cpu",
        "limits": {"max_queued_tokens": 100_000},  # so that overload is refused instead of only queued
    }
    if case == "simulated":
        step_s = duration_s / len(SQUEEZE_GIB)
        args["simulated"] = {"external": [[index * step_s, int(gib * GIB)] for index, gib in enumerate(SQUEEZE_GIB)]}
        args["vram"] = {"offload_after_s": step_s / 3}
    if case in ("full", "lean"):
        args |= {
            "embedder": {"model": str(full / "nomic-embed-text-v2-moe")},
            "reranker": {"model": str(full / "bge-reranker-base")},
            "classifier": {"model": str(full / "ModernBERT-large-zeroshot-v2.0")},
            "cpu": {"precision": "int8"},
            "serving": {"cache_dir": cache},
        }
    if case == "lean":
        args["serving"]["ingress_replicas"] = 1
    return args


@contextlib.contextmanager
def target(case: Case, options: argparse.Namespace) -> Iterator[tuple[Callable[[], list[ProcessMemory]], Any]]:
    """Run a service or server; yield the function that measures its memory, and a factory of clients."""
    if case == "naive":
        with naive_service() as naive:
            yield naive.memory, lambda: NaiveClient(naive, DEADLINE_S + HANG_S + 10)
        return
    duration_s = options.minutes * 60
    with served(args_of(case, duration_s, options.full, options.cache), lean=case == "lean") as running:
        yield running.memory, lambda: trivet_client(running)


def trivet_client(running: Served) -> httpx.AsyncClient:
    """Create a client whose requests have a deadline and bypass the cache."""
    return httpx.AsyncClient(
        base_url=running.url,
        timeout=DEADLINE_S + HANG_S + 10,
        limits=httpx.Limits(max_connections=CLIENTS + 4),
        headers={"cache-control": "no-store", "x-request-timeout-seconds": f"{DEADLINE_S:g}"},
    )


def result_of(
    outcomes: list[Outcome], before: dict[str, Any], started_s: float, watch: MemoryWatch, options: argparse.Namespace
) -> dict[str, Any]:
    """Assemble the result that is stored."""
    found = complaints(outcomes)
    settling_s = SOAK_WARM_S if options.soak else WARM_S
    warm_s = started_s - watch.started_s + settling_s
    statuses = Counter(outcome.answer.status for outcome in outcomes)
    slope_mib = slope_mib_per_s(watch.samples, warm_s)
    per_s = len(outcomes) / (watch.samples[-1].at_s - warm_s + settling_s)
    return {
        "minutes": options.minutes,
        "clients": options.clients,
        **before,
        "requests": len(outcomes),
        "statuses": {str(status): count for status, count in sorted(statuses.items())},
        "complaints": len(found),
        "first_complaints": found[:10],
        "latency": {kind: latency(of_class(outcomes, kind)) for kind in ("short", "medium", "long")},
        "longest_s": round(max(outcome.answer.took_s for outcome in outcomes), 1),
        "pss_peak_mib": round(watch.peak_mib),
        "pss_growth": round(growth(watch.samples, warm_s), 4),
        "pss_growth_by_role_mib": growth_by_role_mib(watch.samples, warm_s),
        "pss_slope_mib_per_1000_requests": round(1000 * slope_mib / per_s, 3),
        "pss_at_peak_mib": {
            role: {"processes": count, "pss_mib": round(size / MIB)}
            for role, (count, size) in by_role(watch.peak).items()
        },
        "load_began_at_s": round(started_s - watch.started_s, 1),
        "memory": [{"at_s": sample.at_s, "pss_mib": sample.pss_mib} for sample in watch.samples],
        "timeline": timeline(outcomes, started_s, SAMPLE_S if not options.soak else 60.0),
        "machine": describe_machine(),
    }


def verdicts(result: dict[str, Any], soak: bool) -> dict[str, bool]:
    """Evaluate the criteria that decide the exit status."""
    memory = (
        result["pss_slope_mib_per_1000_requests"] <= SLOPE_LIMIT_MIB if soak else result["pss_growth"] <= GROWTH_LIMIT
    )
    return {"no_complaints": result["complaints"] == 0, "memory_bounded": memory}


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("case", choices=("cpu", "simulated", "full", "lean", "naive"), default="cpu", nargs="?")
    parser.add_argument("--minutes", type=float)
    parser.add_argument("--clients", type=int, default=CLIENTS)
    parser.add_argument("--load", type=float, help="of the measured capacity")
    parser.add_argument("--soak", action="store_true", help="half an hour at half load")
    parser.add_argument(
        "--full", type=Path, help="folder of the full-size checkpoints (tests.support.checkpoints --size full)"
    )
    parser.add_argument("--cache", help="folder of converted models")
    parser.add_argument("--out", type=Path, default=Path("bench/results/stress.json"))
    options = parser.parse_args()
    if options.case in ("full", "lean") and options.full is None:
        parser.error(f"{options.case} needs --full")
    options.minutes = options.minutes or (30.0 if options.soak else 3.0)
    options.load = options.load or (0.5 if options.soak else 2.0)
    return options


def main() -> None:
    options = parsed()
    every_s = 20.0 if options.soak else SAMPLE_S

    async def measure(memory: Callable[[], list[ProcessMemory]], client_of: Callable[[], Any]) -> dict[str, Any]:
        async with client_of() as client:
            calibrate_s = 20.0
            with MemoryWatch(memory, every_s) as watch:
                outcomes, before, started_s = await run(
                    client,
                    clients=options.clients,
                    duration_s=options.minutes * 60,
                    load=options.load,
                    calibrate_s=calibrate_s,
                )
        return result_of(outcomes, before, started_s, watch, options)

    with target(options.case, options) as (memory, client_of):
        result = asyncio.run(measure(memory, client_of))
    judged = {} if options.case == "naive" else verdicts(result, options.soak)
    name = f"{options.case}-soak" if options.soak else options.case
    earlier = json.loads(options.out.read_text(encoding="utf-8")) if options.out.exists() else {}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(
        json.dumps(earlier | {name: result | {"verdicts": judged}}, indent=1) + "\n", encoding="utf-8"
    )
    shown = {key: value for key, value in result.items() if key not in ("memory", "timeline", "machine")}
    print(json.dumps(shown | {"verdicts": judged}, indent=1))
    raise SystemExit(0 if all(judged.values()) else 1)


if __name__ == "__main__":
    main()
