"""Measures the path to the engine: `make bench-serving`. Ray's default, Trivet's tuned Ray, and no Ray at all.

With an engine that answers at once (`bench.serving.noop`) the same ingress and routes are served three ways, in one
run: one client for latency, sixteen for throughput. Then the starter embedder at equal work, in process and over HTTP
in turn. Requests say `no-store`: the cache is never measured. Writes bench/results/serving.json and the table in
docs/benchmarks.md.
"""

import argparse
import asyncio
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

import psutil

from bench.engine.in_process import Spec
from bench.load.raw_client import Loop, post, run_raw_loop
from bench.load.workloads import Call, calls
from bench.support.machine import describe_machine
from bench.support.ports import free_port
from bench.support.served import served
from deployments.environment.variables import cluster_environment, shipped_variables
from deployments.service.folder import folder_variables
from deployments.service.host_memory import role_of, tree
from deployments.service.ports import choose_ports
from trivet.starter.base import base_model_dir

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "benchmarks.md"
RESULTS = ROOT / "bench" / "results" / "serving.json"

CLIENTS = 16
SETTLE_S = 6.0
"""HAProxy reloads when the ingress replicas are ready, which ends its first connections."""
WARM_UP_S = 2.0
WINDOWS, WINDOW_S = 3, 2.5
"""The best window is reported: other load on the machine only adds time."""
ENGINE_S = 15.0
ENGINE_ROUNDS = 4
"""Equal windows differ by a third on a virtual machine: only several in turn can be compared."""
NO_STORE = {"cache-control": "no-store"}
DISTINCT = 200
CANDIDATES = ["Wait longer after each attempt.", "A grid has rows.", "Bake bread.", "An index is a sorted copy."]

ROUTES: dict[str, list[bytes]] = {
    "embeddings": [
        post("/v1/embeddings", {"input": f"how do I retry failed request {number}"}, headers=NO_STORE)
        for number in range(DISTINCT)
    ],
    "relations": [
        post("/v1/relations", {"source": f"retry failed request {number}", "candidates": CANDIDATES}, headers=NO_STORE)
        for number in range(DISTINCT)
    ],
}


@dataclass(frozen=True, slots=True)
class Contender:
    """One way to serve. `replicas`: of the ingress."""

    name: str
    kind: str
    tuned: bool = False
    replicas: int = 1
    instead: tuple[tuple[str, str], ...] = ()
    """Variables with other values than the tuned ones."""


CONTENDERS = (
    Contender("uvicorn + FastAPI, no Ray", "bare"),
    Contender("Ray Serve as it comes", "ray"),
    Contender("Trivet's tuned Ray Serve", "ray", tuned=True, replicas=2),
)

TUNED = CONTENDERS[-1]
WITHOUT = (
    Contender("HAProxy", "ray", True, 2, (("RAY_SERVE_ENABLE_HA_PROXY", "0"),)),
    Contender("RAY_SERVE_THROUGHPUT_OPTIMIZED", "ray", True, 2, (("RAY_SERVE_THROUGHPUT_OPTIMIZED", "0"),)),
    Contender("RAY_worker_niceness=0", "ray", True, 2, (("RAY_worker_niceness", "15"),)),
    Contender("the second ingress replica", "ray", True, 1),
)
"""The tuned service, each time without one of its settings."""


def own_ports(folder: Path) -> dict[str, str]:
    """Everything that contenders would share with other services of this machine."""
    return {"RAY_ADDRESS": "local", **folder_variables(folder), **choose_ports({}, ())}


def environment(contender: Contender, folder: Path) -> dict[str, str]:
    """Of its process: Ray's variables are those of deployments/environment/ray.env, or none."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    plain |= {"RAY_USAGE_STATS_ENABLED": "0"}
    if not contender.tuned:
        return plain
    listed = shipped_variables()
    return cluster_environment(
        listed, {**plain, **own_ports(folder), **dict(contender.instead)}, programs=Path(sys.executable).parent
    )


@contextmanager
def running(contender: Contender, engine: str) -> Iterator[tuple[int, psutil.Process]]:
    """Start one; yields its port and its first process."""
    port = free_port()
    command = [sys.executable, "-m", "bench.serving.server", contender.kind, engine, str(port)]
    with tempfile.TemporaryDirectory(prefix="trivet-") as folder:
        variables = environment(contender, Path(folder))
        with started([*command, str(contender.replicas)], variables, contender.name) as process:
            time.sleep(SETTLE_S)
            yield port, process


@contextmanager
def started(command: Sequence[str], variables: Mapping[str, str], name: str) -> Iterator[psutil.Process]:
    """Run a server that prints a line with `ready` and ends when its stdin is closed; yields its process."""
    with tempfile.TemporaryFile("w+") as log:
        child = subprocess.Popen(
            command,
            cwd=ROOT,
            env=variables,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
        assert child.stdin is not None
        assert child.stdout is not None
        try:
            if not any(line.startswith("ready") for line in child.stdout):
                log.seek(0)
                raise RuntimeError(f"{name} did not start: {log.read()[-3000:]}")
            yield psutil.Process(child.pid)
        finally:
            child.stdin.close()
            child.wait(120)


def cpu_s(root: psutil.Process) -> dict[str, float]:
    """Processor seconds so far of each part of a service."""
    used: dict[str, float] = {}
    for process in tree(root):
        try:
            times, role = process.cpu_times(), role_of(process.cmdline())
        except psutil.NoSuchProcess:
            continue
        role = "server" if "serving_server" in role or role.endswith("python") else role
        used[role] = used.get(role, 0.0) + times.user + times.system
    return used


def measured_loop(port: int, requests: Sequence[bytes], clients: int, duration_s: float) -> Loop:
    loop = asyncio.run(run_raw_loop(port, requests, clients=clients, duration_s=duration_s))
    if loop.other_statuses:
        raise RuntimeError(f"answers other than 200: {loop.other_statuses}")
    return loop


def measure(contender: Contender, routes: Sequence[str] = tuple(ROUTES)) -> dict[str, Any]:
    """Some routes of one contender."""
    cells: dict[str, Any] = {"name": contender.name, "ingress_replicas": contender.replicas, "routes": {}}
    with running(contender, "noop") as (port, root):
        for route in routes:
            requests = ROUTES[route]
            measured_loop(port, requests, 4, WARM_UP_S)
            one = min(windows(port, requests, 1), key=lambda loop: loop.percentile_ms(50))
            before, machine_before_s = cpu_s(root), machine_cpu_s()
            all_windows = windows(port, requests, CLIENTS)
            many = max(all_windows, key=lambda loop: loop.requests_per_s)
            spent = {role: used - before.get(role, 0.0) for role, used in cpu_s(root).items()}
            took_s = sum(loop.took_s for loop in all_windows)
            answered = sum(len(loop.latencies_s) for loop in all_windows)
            ours_s = sum(spent.values()) + sum(loop.generator_cpu_s for loop in all_windows)
            cells["routes"][route] = {
                "one_client": latencies(one),
                "sixteen_clients": latencies(many) | {"requests_per_s": round(many.requests_per_s, 1)},
                "cpu_ms_per_request": {
                    role: round(1000 * used / answered, 3)
                    for role, used in sorted(spent.items(), key=lambda item: -item[1])
                    if used > 0.02 * took_s
                },
                "cores_used_by_others": round(max(0.0, machine_cpu_s() - machine_before_s - ours_s) / took_s, 2),
                "generator_cores": round(many.generator_cpu_s / many.took_s, 3),
            }
            print(contender.name, route, cells["routes"][route], flush=True)
    return cells


def windows(port: int, requests: Sequence[bytes], clients: int) -> list[Loop]:
    return [measured_loop(port, requests, clients, WINDOW_S) for _ in range(WINDOWS)]


def machine_cpu_s() -> float:
    """Processor seconds of everything on this machine."""
    times = psutil.cpu_times()
    busy: float = times.user + times.nice + times.system + times.softirq + times.irq
    return busy


def latencies(loop: Loop) -> dict[str, float]:
    return {"p50_ms": round(loop.percentile_ms(50), 2), "p99_ms": round(loop.percentile_ms(99), 2)}


def measure_engine() -> dict[str, Any]:
    """The starter embedder on the mixed workload: in process and over HTTP, in turn."""
    model = base_model_dir()
    work = calls("embedder", model, "mixed", 256, 400)
    in_process, over_http = [engine_in_process(model, work)], []
    for _ in range(ENGINE_ROUNDS):
        over_http.append(engine_over_http(work))
        in_process.append(engine_in_process(model, work))
    rates = [cell["tokens_per_s"] for cell in over_http]
    return {
        "in_process_tokens_per_s": [round(rate, 1) for rate in in_process],
        "over_http": over_http,
        "share": round(fmean(rates) / fmean(in_process), 3),
    }


def engine_over_http(work: Sequence[Call]) -> dict[str, Any]:
    """Tokens a second of `CLIENTS` clients of a service, and the cores of each part of it."""
    requests = [post("/v1/embeddings", {"input": list(call.others)}, headers=NO_STORE) for call in work]
    with running(TUNED, "starter") as (port, root):
        measured_loop(port, requests[::-1], CLIENTS, WARM_UP_S)
        before = cpu_s(root)
        loop = measured_loop(port, requests, CLIENTS, ENGINE_S)
        spent = {role: used - before.get(role, 0.0) for role, used in cpu_s(root).items()}
    return {
        "tokens_per_s": round(sum(sum(work[index].lengths) for index in loop.sent) / loop.took_s, 1),
        "requests_per_s": round(loop.requests_per_s, 1),
        "cores": {
            role: round(used / loop.took_s, 3)
            for role, used in sorted(spent.items(), key=lambda item: -item[1])
            if used > 0.005 * loop.took_s
        }
        | {"client": round(loop.generator_cpu_s / loop.took_s, 3)},
    }


def engine_in_process(model: Path, work: Sequence[Call]) -> float:
    """Tokens a second of `CLIENTS` concurrent callers without HTTP."""
    with tempfile.TemporaryDirectory() as folder:
        calls_file = Path(folder) / "calls.json"
        calls_file.write_text(
            json.dumps([{"first": call.first, "others": call.others, "lengths": call.lengths} for call in work])
        )
        spec = Spec(
            "trivet",
            "auto",
            "embedder",
            str(model),
            str(Path("~/.cache/trivet").expanduser()),
            str(calls_file),
            None,
            CLIENTS,
            0,
            WARM_UP_S,
            ENGINE_S,
        )
        spec.write(Path(folder) / "spec.json")
        done = subprocess.run(
            [sys.executable, "-m", "bench.engine.in_process", str(Path(folder) / "spec.json")],
            cwd=ROOT,
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        )
        rate: float = json.loads(done.stdout.splitlines()[-1])["tokens_per_s"]
    return rate


def time_to_ready_s() -> float:
    """From `trivet serve` to the first answer of every model, with models converted before."""
    started_s = time.perf_counter()
    with served({"device": "cpu"}):
        return round(time.perf_counter() - started_s, 1)


def tables(result: Mapping[str, Any]) -> str:
    """For the page."""
    machine = result["machine"]
    lines = [
        f"{machine['cores']} cores of {machine['processor']} (family/model {machine['family_model']}); "
        "the best of three windows of 2.5 s each. Others: cores that other programs used meanwhile.",
        "",
        "| served by | route | 1 client: p50 / p99 ms | 16 clients: req/s | p50 / p99 ms | core-ms each | others |",
        "|---|---|--:|--:|--:|---|--:|",
    ]
    for cells in result.get("contenders", []):
        for route, cell in cells["routes"].items():
            one, many = cell["one_client"], cell["sixteen_clients"]
            parts = ", ".join(f"{role} {used:.2f}" for role, used in list(cell["cpu_ms_per_request"].items())[:4])
            columns = [
                cells["name"],
                route,
                f"{one['p50_ms']:.1f} / {one['p99_ms']:.1f}",
                f"{many['requests_per_s']:,.0f}",
                f"{many['p50_ms']:.0f} / {many['p99_ms']:.0f}",
                parts,
                f"{cell['cores_used_by_others']:.1f}",
            ]
            lines.append(f"| {' | '.join(columns)} |")
    if "without" in result:
        lines += ["", *_without_table(result["without"])]
    if "engine" in result:
        engine = result["engine"]
        rates = [cell["tokens_per_s"] for cell in engine["over_http"]]
        cores = fmean(cell["cores"]["embedder-cpu"] for cell in engine["over_http"])
        lines += [
            "",
            "The starter embedder on the mixed workload, 16 callers, in turn: "
            f"{_listed(engine['in_process_tokens_per_s'])} tokens/s in process, {_listed(rates)} over HTTP: "
            f"{engine['share']:.0%}. Over HTTP the replica has {cores:.2f} of the {machine['cores']} cores.",
        ]
    if "ready_s" in result:
        lines += [
            "",
            f"From `trivet serve` to the first answer of every model, converted before: {result['ready_s']} s.",
        ]
    return "\n".join(lines)


def _listed(rates: Sequence[float]) -> str:
    return ", ".join(f"{rate:,.0f}" for rate in rates)


def _without_table(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    lines = [
        "Embeddings with the tuned service, and without one thing each, in a separate run:",
        "",
        "| without | 1 client: p50 / p99 ms | 16 clients: requests/s |",
        "|---|--:|--:|",
    ]
    for measured in rows:
        cell = measured["routes"]["embeddings"]
        one = cell["one_client"]
        rate = cell["sixteen_clients"]["requests_per_s"]
        lines.append(f"| {measured['name']} | {one['p50_ms']:.1f} / {one['p99_ms']:.1f} | {rate:,.0f} |")
    return lines


def write_page(text: str) -> None:
    begin, end = "<!-- serving: begin -->", "<!-- serving: end -->"
    page = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(
        re.sub(f"{begin}.*?{end}", lambda _: f"{begin}\n\n{text}\n\n{end}", page, flags=re.DOTALL), encoding="utf-8"
    )


PARTS = ("path", "without", "engine", "ready")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--parts", nargs="+", choices=PARTS, default=PARTS, help="measure these, keep the results of the others"
    )
    options = parser.parse_args()
    result: dict[str, Any] = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    result["machine"] = describe_machine()
    measures: dict[str, Callable[[], dict[str, Any]]] = {
        "path": lambda: {"contenders": [measure(contender) for contender in CONTENDERS]},
        "without": lambda: {
            "without": [measure(one, ["embeddings"]) for one in (replace(TUNED, name="nothing"), *WITHOUT)]
        },
        "engine": lambda: {"engine": measure_engine()},
        "ready": lambda: {"ready_s": time_to_ready_s()},
    }
    for part in options.parts:
        result |= measures[part]()
        RESULTS.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
        write_page(tables(result))


if __name__ == "__main__":
    main()
