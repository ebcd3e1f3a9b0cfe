"""Measures the whole service on the GPU over HTTP: `python -m bench.engine.gpu.service FOLDER SECONDS`.

`trivet serve` runs the three full-size shapes. First single calls and saturated ones of each model, by the raw client.
Then the squeeze: 16 clients use every native route while another program leaves 8 GB, then 150 MiB, then 8 GB again.
At last the service starts again with CPU replicas that rest, for its memory.
Prints one JSON object per line.
"""

import asyncio
import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from bench.engine.gpu.workload import Sized, Workload
from bench.engine.shapes import SHAPES
from bench.load.http import run_load
from bench.load.raw_client import Loop, post, run_raw_loop
from bench.support.served import Served, served
from deployments.service.host_memory import by_role
from trivet.messages import ClassifyRequest, EmbedRequest, RerankRequest

MODELS = ("bge-reranker-base", "ModernBERT-large", "nomic-v2-moe")
GENERATORS = 4
CLIENTS = 64
SQUEEZE = ("0:8192", "12:150", "27:8192", "45:-1")
SQUEEZE_S = 45
REST_AFTER_S = 5.0


def body(sized: Sized) -> tuple[str, Mapping[str, Any]]:
    """Return a request in the form of its native route."""
    request = sized.request
    if isinstance(request, EmbedRequest):
        return "/v1/embeddings", {"input": list(request.texts), "encoding_format": "base64"}
    if isinstance(request, RerankRequest):
        return "/v1/rerank", {"query": request.query, "documents": list(request.documents)}
    assert isinstance(request, ClassifyRequest)
    texts = [pair.text for pair in request.inputs]
    return "/v1/classify", {"input": texts, "labels": list(request.hypotheses), "hypothesis_template": "{}"}


def _generate(port: int, requests: list[bytes], clients: int, duration_s: float) -> Loop:
    return asyncio.run(run_raw_loop(port, requests, clients=clients, duration_s=duration_s))


def saturate(port: int, sized: list[Sized], duration_s: float) -> dict[str, float]:
    """Send with `CLIENTS` connections from `GENERATORS` processes, each with its part of the requests."""
    encoded = [post(*body(one), headers={"cache-control": "no-store"}) for one in sized]
    parts = [encoded[number::GENERATORS] for number in range(GENERATORS)]
    run = partial(_generate, port, clients=CLIENTS // GENERATORS, duration_s=duration_s)
    with ProcessPoolExecutor(GENERATORS) as pool:
        loops = list(pool.map(run, parts))
    tokens = sum(
        sum(sized[number + GENERATORS * index].lengths) for number, loop in enumerate(loops) for index in loop.sent
    )
    latencies = sorted(latency for loop in loops for latency in loop.latencies_s)
    took_s = max(loop.took_s for loop in loops)
    return {
        "tokens_per_s": round(tokens / took_s),
        "calls_per_s": round(len(latencies) / took_s, 1),
        "p50_ms": round(1e3 * latencies[len(latencies) // 2], 1),
        "p99_ms": round(1e3 * latencies[int(len(latencies) * 0.99)], 1),
        "not_200": sum(sum(loop.other_statuses.values()) for loop in loops),
        "generator_cores": round(sum(loop.generator_cpu_s for loop in loops) / took_s, 2),
    }


def model_cells(service: Served, folder: Path, duration_s: float) -> None:
    """Measure each model alone: one short call at a time, and calls of 32 sequences at saturation."""
    port = int(service.url.rsplit(":", 1)[1])
    for name in MODELS:
        short = Workload.read(folder / f"{name}-short.json").requests(4)
        single = [post(*body(one), headers={"cache-control": "no-store"}) for one in short]
        _generate(port, single, 1, 0.5)
        loop = _generate(port, single, 1, min(3.0, duration_s))
        _print(
            "http",
            shape=name,
            load="one short call",
            p50_ms=round(loop.percentile_ms(50), 2),
            p99_ms=round(loop.percentile_ms(99), 2),
            not_200=loop.other_statuses,
        )
        mixed = Workload.read(folder / f"{name}-mixed.json").requests(32)
        saturate(port, mixed[::-1], 1.0)
        _print("http", shape=name, load=f"{CLIENTS} clients, 32 sequences", **saturate(port, mixed, duration_s))


def squeeze(service: Served) -> dict[str, Any]:
    """Let 16 clients use every native route while another program takes the GPU's memory and gives it back."""
    program = subprocess.Popen([sys.executable, "-m", "bench.engine.gpu.external", *SQUEEZE])
    try:
        began_s = time.monotonic()
        report = asyncio.run(run_load(service.url, clients=16, duration_s=SQUEEZE_S))
    finally:
        program.terminate()
        program.wait()
    steps = []
    for at in range(0, SQUEEZE_S, 5):
        took = [a for a in report.answers if at <= a.sent_s - began_s < at + 5]
        latencies = sorted(a.took_s for a in took)
        if took:
            steps.append(
                {
                    "from_s": at,
                    "answers": len(took),
                    "devices": dict(Counter(a.device for a in took)),
                    "p50_ms": round(1e3 * latencies[len(latencies) // 2], 1),
                    "p99_ms": round(1e3 * latencies[int(len(latencies) * 0.99)], 1),
                }
            )
    return {
        "answers": len(report.answers),
        "statuses": report.statuses(),
        "failed": len(report.failed),
        "refused": len(report.refused),
        "longest_gap_s": round(report.longest_gap_s(), 2),
        "examples": [answer.detail for answer in report.failed[:3]],
        "steps": steps,
    }


def memory(service: Served, stage: str) -> None:
    """Print what every process takes on the host, and the GPU's use by process."""
    import pynvml

    pynvml.nvmlInit()
    device = pynvml.nvmlDeviceGetHandleByIndex(0)
    listed = {one.pid: (one.usedGpuMemory or 0) >> 20 for one in pynvml.nvmlDeviceGetComputeRunningProcesses(device)}
    roles = {
        role: {"processes": count, "pss_mib": pss_bytes >> 20}
        for role, (count, pss_bytes) in by_role(service.memory()).items()
    }
    total_mib = sum(role["pss_mib"] for role in roles.values())
    _print("service memory", stage=stage, gpu_mib=sorted(listed.values()), host=roles, host_pss_mib=total_mib)


def main() -> None:
    folder, duration_s = Path(sys.argv[1]), float(sys.argv[2])
    models: dict[str, Any] = {
        SHAPES[name].task: {"model": str(SHAPES[name].directory(folder)), "gpu_fraction": 0.3} for name in MODELS
    }
    args = {"device": "cuda", **models, "serving": {"cache_dir": str(folder / "cache")}}
    began_s = time.monotonic()
    with served(args) as service:
        _print("service", ready_s=round(time.monotonic() - began_s, 1))
        memory(service, "ready")
        model_cells(service, folder, duration_s)
        memory(service, "after load")
        _print("squeeze", **squeeze(service))
    with served({**args, "cpu": {"rest_after_s": REST_AFTER_S}}) as service:
        time.sleep(2 * REST_AFTER_S)
        memory(service, "CPU replicas resting")


def _print(what: str, **figures: Any) -> None:
    print(json.dumps({"what": what, **figures}), flush=True)


if __name__ == "__main__":
    main()
