"""Measures sentence-transformers on the GPU: `python -m bench.engine.gpu.peers SHAPE FOLDER SECONDS`.

In bf16, texts sorted by length, batches of 32 and 128, with and without cuDNN's attention, which torch prefers on
recent GPUs. It gets all texts as one list, the best that a caller can do for it. A model that the library cannot load
has no line.
"""

import itertools
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

from bench.engine.gpu.workload import Workload
from bench.engine.shapes import SHAPES, read_cost
from bench.load.workloads import Call

BLOCK_CALLS = 256


def contender(task: str, directory: Path, batch: int) -> Callable[[list[Call]], object]:
    """Return what computes a block of calls."""
    from sentence_transformers import CrossEncoder, SentenceTransformer

    options = {"device": "cuda", "model_kwargs": {"dtype": torch.bfloat16}}
    if task == "embedder":
        embedder = SentenceTransformer(str(directory), **options)
        return lambda block: embedder.encode([text for call in block for text in call.others], batch_size=batch)
    scorer = CrossEncoder(str(directory), **options)
    return lambda block: scorer.predict([pair for call in block for pair in call.pairs], batch_size=batch)


def main() -> None:
    name, folder, duration_s = sys.argv[1], Path(sys.argv[2]), float(sys.argv[3])
    shape = SHAPES[name]
    directory = shape.directory(folder)
    cost = read_cost(directory)
    calls = Workload.read(folder / f"{name}-mixed.json").calls
    for batch, cudnn in itertools.product((32, 128), (True, False)):
        torch.backends.cuda.enable_cudnn_sdp(cudnn)
        run = contender(shape.task, directory, batch)
        blocks = itertools.cycle([calls[at : at + BLOCK_CALLS] for at in range(0, len(calls), BLOCK_CALLS)])
        run(next(blocks))
        tokens, flops = 0, 0.0
        began_s = time.perf_counter()
        while time.perf_counter() - began_s < duration_s:
            block = next(blocks)
            run(block)
            lengths = [length for call in block for length in call.lengths]
            tokens, flops = tokens + sum(lengths), flops + cost.flops(lengths)
        took_s = time.perf_counter() - began_s
        figures = {
            "shape": name,
            "what": "cell",
            "contender": f"sentence-transformers, batch {batch}, cuDNN attention {'on' if cudnn else 'off'}",
            "workload": "mixed",
            "tokens_per_s": round(tokens / took_s),
            "tflops": round(flops / took_s / 1e12, 1),
            "peak_mib": torch.cuda.max_memory_reserved() >> 20,
        }
        print(json.dumps(figures), flush=True)
        del run
        torch.cuda.empty_cache()


if __name__ == "__main__":
    main()
