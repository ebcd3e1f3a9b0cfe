"""A separate process on the simulated GPU, which attaches a model and then reads commands from standard input.

Commands, one per line: "reserve N", "release N", "offload", "load N", "spin SIZE TIMES" (reserve and release, counting
the refusals), "quit". It answers each with one line: "ok", "oom", or a count.
"""

import sys
import time
from pathlib import Path

from trivet.simulation.ledger import Ledger, SimulatedGpu
from trivet.vram.errors import SimulatedOutOfMemory


def main(path: str, total_bytes: int, model: str) -> None:
    ledger = Ledger(Path(path), SimulatedGpu(total_bytes=total_bytes, context_bytes=10), time.monotonic)
    ledger.attach(model)
    say("ok")
    for line in sys.stdin:
        command, *numbers = line.split()
        sizes = [int(number) for number in numbers]
        if command == "quit":
            return
        try:
            say(run(ledger, model, command, sizes))
        except SimulatedOutOfMemory:
            say("oom")


def run(ledger: Ledger, model: str, command: str, sizes: list[int]) -> str:
    if command == "spin":
        return str(spin(ledger, model, *sizes))
    if command == "offload":
        ledger.offload(model)
    else:
        getattr(ledger, command)(model, *sizes)
    return "ok"


def spin(ledger: Ledger, model: str, size_bytes: int, times: int) -> int:
    refused = 0
    for _ in range(times):
        try:
            with ledger.holding(model, size_bytes):
                view = ledger.view()
                if view.free_bytes < 0:
                    raise AssertionError(f"the GPU is over-full: {view}")
        except SimulatedOutOfMemory:
            refused += 1
        ledger.empty_cache(model)
    return refused


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3])
