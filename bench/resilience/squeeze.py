"""An external process takes and releases a simulated 8 GB GPU, under load: `python -m bench.resilience.squeeze`.

Passes if no request failed, every CPU answer had a reason, no model returned to the GPU twice within one dwell, and
every model was back on the GPU at the end. Writes a JSON report.
"""

import argparse
import asyncio
import itertools
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from bench.load.http import Report, run_load
from bench.support.service import service

GIB = 1024**3
STEPS_GIB = (0.0, 1.0, 4.0, 6.5, 7.8, 0.0)
DWELL_S = 5.0


@dataclass(frozen=True, slots=True)
class Sample:
    """The routes of all models at one moment, from /readyz."""

    at_s: float
    reasons: dict[str, str]


async def watch(url: str, until_s: float) -> list[Sample]:
    """Read each model's route twice a second."""
    samples = []
    async with httpx.AsyncClient(base_url=url, timeout=30) as client:
        while time.monotonic() < until_s:
            body = (await client.get("/readyz")).json()
            samples.append(Sample(time.monotonic(), {model: entry["route"] for model, entry in body["models"].items()}))
            await asyncio.sleep(0.5)
    return samples


async def measure(url: str, duration_s: float, clients: int) -> tuple[Report, list[Sample]]:
    """Run the load, and read the routes at the same time."""
    until_s = time.monotonic() + duration_s
    report, samples = await asyncio.gather(run_load(url, clients=clients, duration_s=duration_s), watch(url, until_s))
    return report, samples


def returns_within_a_dwell(samples: list[Sample], dwell_s: float) -> int:
    """Count how often a model moved to the GPU less than one dwell after its previous move there."""
    count = 0
    for model in samples[0].reasons:
        moves = [
            after.at_s
            for before, after in itertools.pairwise(samples)
            if after.reasons[model].endswith("moved to gpu") and before.reasons[model] != after.reasons[model]
        ]
        count += sum(later - earlier < dwell_s for earlier, later in itertools.pairwise(moves))
    return count


def summary(report: Report, samples: list[Sample]) -> dict[str, Any]:
    """Summarise the figures and the criteria."""
    cpu_without_reason = [
        a for a in report.answers if a.status == 200 and "simulated" not in a.device and not a.reroute_reason
    ]
    reasons = sorted({reason for sample in samples for reason in sample.reasons.values()})
    return {
        "requests": len(report.answers),
        "statuses": report.statuses(),
        "failed": len(report.failed),
        "refused_with_retry_after": len(report.refused),
        "answered_by_gpu_lane_alone": sum(a.device == "simulated:0" for a in report.answers),
        "answered_with_cpu": sum("cpu" in a.device for a in report.answers),
        "cpu_answers_without_a_reason": len(cpu_without_reason),
        "returns_within_a_dwell": returns_within_a_dwell(samples, DWELL_S),
        "all_back_on_gpu": all(reason.endswith("moved to gpu") for reason in samples[-1].reasons.values()),
        "p50_ms": round(report.percentile_ms(50)),
        "p99_ms": round(report.percentile_ms(99)),
        "longest_gap_s": round(report.longest_gap_s(), 2),
        "reasons_seen": reasons,
        "failures": [f"{a.path} {a.status} {a.detail}" for a in report.failed[:10]],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=3.0)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--out", type=Path, default=Path("bench/results/squeeze.json"))
    options = parser.parse_args()
    duration_s = options.minutes * 60
    step_s = duration_s / len(STEPS_GIB)
    args = {
        "device": "simulated",
        "simulated": {
            "vram": "8GiB",
            "external": [[index * step_s, int(gib * GIB)] for index, gib in enumerate(STEPS_GIB)],
        },
        "vram": {"dwell_s": DWELL_S, "offload_after_s": step_s / 3},
    }
    with service(args) as url:
        report, samples = asyncio.run(measure(url, duration_s, options.clients))
    result = summary(report, samples)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))
    passed = (
        result["failed"] == 0
        and result["cpu_answers_without_a_reason"] == 0
        and result["returns_within_a_dwell"] == 0
        and result["all_back_on_gpu"]
    )
    raise SystemExit(0 if passed else 1)


if __name__ == "__main__":
    main()
