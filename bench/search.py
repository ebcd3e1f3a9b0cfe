"""How long a search takes. `python -m bench.search INDEX --out FILE`, with a server that runs at `TRIVET_URL`.

Each question is asked once, after one that warms up; the index file is opened once, as the MCP server does it. The
command's own time (`trivet search`, which also starts Python) is measured apart.
"""

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from trivet.client import AsyncClient
from trivet.folders.searching import search
from trivet.index import IndexReader

QUESTIONS = (
    "how do I retry a failed request",
    "read a file line by line",
    "parse a date from a string",
    "where are command line options defined",
    "compute a hash of a file",
    "open a socket and listen",
    "compress data with gzip",
    "walk a directory tree",
    "convert a colour to RGB",
    "run a function in a thread",
    "escape HTML characters",
    "sort a list by a key",
    "raise an error for an unknown option",
    "read configuration from the environment",
    "decode JSON that is not valid",
    "send an e-mail with an attachment",
    "log a message with its level",
    "measure how long a call takes",
    "split text into words",
    "which exceptions does the client raise",
)
RESULTS = 10
COMMANDS = 3


async def measure(index: Path) -> dict[str, Any]:
    """Ask all questions, one after the other."""
    times_ms: list[float] = []
    tokens: list[int] = []
    candidates: list[int] = []
    async with AsyncClient() as client:
        with IndexReader(index) as reader:
            files = len(reader.files())
            await search(client, reader, "a first question", RESULTS)
            for question in QUESTIONS:
                started_s = time.perf_counter()
                answer = await search(client, reader, question, RESULTS)
                times_ms.append((time.perf_counter() - started_s) * 1000)
                tokens.append(answer.tokens)
                candidates.append(answer.candidates)
    return {
        "files": files,
        "questions": len(times_ms),
        "p50_ms": round(statistics.median(times_ms), 1),
        "longest_ms": round(max(times_ms), 1),
        "tokens": statistics.median(tokens),
        "candidates": statistics.median(candidates),
    }


def command_ms(index: Path) -> float:
    """Return the median time of the whole command, with questions that were asked before."""
    times_ms = []
    for question in QUESTIONS[:COMMANDS]:
        started_s = time.perf_counter()
        command = [sys.executable, "-m", "trivet", "search", str(index), question, "--json"]
        subprocess.run(command, check=True, capture_output=True)
        times_ms.append((time.perf_counter() - started_s) * 1000)
    return round(statistics.median(times_ms), 1)


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("index", type=Path)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    figures = asyncio.run(measure(args.index)) | {"command_p50_ms": command_ms(args.index)}
    print(json.dumps(figures))
    if args.out:
        args.out.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
