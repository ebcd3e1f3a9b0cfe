"""Runs as a separate process, with the stub on the library path: plays a script of scenarios against `NvmlProbe`.

Reads the script as JSON from standard input and writes what the probe observed and logged as JSON to standard output.
A scenario may begin while the former call still hangs: every step is one `read`, with the clock moved before it.
"""

import json
import logging
import os
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from trivet.vram.nvml import GpuUnreadable, driver_and_gpu, list_gpus, process_bytes
from trivet.vram.probe import NvmlProbe
from trivet.vram.registry import Registry, ReplicaReport


class Records(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(f"{record.levelname} {record.getMessage()}")


def play(script: dict[str, Any]) -> dict[str, Any]:
    records = Records()
    logging.getLogger("trivet.vram").addHandler(records)
    logging.getLogger("trivet.vram").setLevel(logging.INFO)
    now_s = 100.0
    registry = Registry(is_alive=lambda _pid: True)
    probe = NvmlProbe(registry, lambda: now_s, device=script["device"], timeout_s=script["timeout_s"])
    for report in script["reports"]:
        registry.report(ReplicaReport(**({"at_s": now_s, "gpu": "GPU-0"} | report)))
    steps = []
    for step in script["steps"]:
        show(step["scenario"])
        now_s += step.get("advance_s", 0.0)
        began_s = time.perf_counter()
        observation = probe.read()
        took_s = time.perf_counter() - began_s
        if step.get("until_known"):  # the stub's hung call needs a moment to notice that it may go on
            while not observation.known and time.perf_counter() - began_s < 5:
                time.sleep(0.002)
                observation = probe.read()
        steps.append(asdict(observation) | {"took_s": took_s})
    return {
        "steps": steps,
        "gpus": answered(list_gpus),
        "kind": answered(lambda: driver_and_gpu(script["device"])),
        "of_process_11": answered(lambda: process_bytes(script["device"], 11)),
        "log": records.lines,
        "threads": [t.name for t in threading.enumerate()],
    }


def answered(question: Callable[[], Any]) -> Any:
    try:
        return question()
    except GpuUnreadable as error:
        return error.reason


def show(scenario: dict[str, Any]) -> None:
    path = Path(os.environ["NVML_STUB_SCENARIO"])
    path.with_suffix(".new").write_text("".join(f"{key} {value}\n" for key, value in scenario.items()))
    path.with_suffix(".new").replace(path)


if __name__ == "__main__":
    json.dump(play(json.load(sys.stdin)), sys.stdout, default=sorted)  # sets become lists
