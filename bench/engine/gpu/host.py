"""How busy the host keeps a fast device: `python -m bench.engine.gpu.host`. Needs no GPU.

The engine's real path (queue, batches, launches, results) feeds a device that only waits for as long as a GPU of so
many tokens a second would compute. Tokenising is replaced by a lookup, because a machine with such a GPU has more cores
for it than this one; `--tokenize` brings it back. What the device then misses of 100 % is what Python costs.
"""

import argparse
import asyncio
import json
import random
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench.engine.gpu.engine import closed_loop, percentiles
from bench.engine.gpu.workload import Sized
from trivet.config import AppConfig
from trivet.engine.backend import OneStep
from trivet.engine.batch.layout import FLAT
from trivet.engine.batch.token_batch import TokenBatch
from trivet.engine.cuda.accelerator import DeviceMemory
from trivet.engine.open import open_engine, open_gpu_lane, prepare_model
from trivet.messages import Floats, RerankRequest

TOKENS_PER_S = 2.07e6
"""What an H200 computes of bge-reranker-base's shape, packed."""
QUERY = "how do I retry a failed request"
WORDS = Path("README.md")
SEQUENCES = 6_400
SHORT_DOCUMENTS = ("retry with a delay", "the request failed", "a timeout was set", "errors have a code")
SWITCH_INTERVAL_S = 0.0005
"""As in a GPU replica (`trivet.engine.cuda.runner`)."""

SHORT = Sized(RerankRequest(QUERY, SHORT_DOCUMENTS), (0,) * len(SHORT_DOCUMENTS))
"""What one caller sends again and again beside the others."""


class WaitingDevice:
    """An `Accelerator` that waits instead of computing, one batch after the other, as a stream does."""

    device = "waiting"
    fault = None
    layout = FLAT

    def __init__(self, tokens_per_s: float, in_flight: int) -> None:
        self.in_flight = in_flight
        self.busy_s = 0.0
        self.tokens = 0
        self._tokens_per_s = tokens_per_s
        self._ends_s = 0.0

    def launch(self, batch: TokenBatch) -> OneStep:
        """Begin to wait, behind what was launched before."""
        takes_s = batch.tokens / self._tokens_per_s
        self._ends_s = ends_s = max(time.perf_counter(), self._ends_s) + takes_s
        self.busy_s += takes_s
        self.tokens += batch.tokens

        def wait() -> Floats:
            time.sleep(max(0.0, ends_s - time.perf_counter()))
            return np.zeros((len(batch.lengths), 1), dtype=np.float32)

        return OneStep(wait)

    def free_cache(self) -> None: ...

    def offload(self) -> None: ...

    def reload(self) -> None: ...

    def prepare(self, max_tokens: int) -> None: ...

    def measure_context(self) -> int | None:
        """There is none."""
        return None

    def memory(self) -> DeviceMemory:
        """Nothing is held."""
        return DeviceMemory(0, 0, 0, 0)

    def close(self) -> None: ...


class LookedUp:
    """A tokenizer whose encodings are there already."""

    def __init__(self, tokenizer: Any, texts: Sequence[str]) -> None:
        self._tokenizer = tokenizer
        self._found = {text: tokenizer.encode(text, add_special_tokens=False) for text in texts}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tokenizer, name)

    def encode_batch_fast(self, texts: Sequence[str], *, add_special_tokens: bool) -> list[Any]:
        """The encodings of known texts, without special tokens."""
        assert not add_special_tokens
        return [self._found[text] for text in texts]


def requests(per_request: int) -> list[Sized]:
    """Requests of documents from 20 to 600 tokens, most of them short."""
    chance, words = random.Random(1), WORDS.read_text(encoding="utf-8").split()

    def document() -> str:
        return " ".join(chance.choices(words, k=max(3, int(chance.lognormvariate(4.2, 0.8)))))[:2000]

    lengths = (0,) * per_request  # FLOPs are not counted here
    return [
        Sized(RerankRequest(QUERY, tuple(document() for _ in range(per_request))), lengths)
        for _ in range(SEQUENCES // per_request)
    ]


async def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Let callers send requests for so long; return what the device did meanwhile."""
    config = AppConfig.model_validate({"device": "simulated", "gpu": {"token_budget": args.token_budget}})
    prepared = prepare_model(config, "reranker")
    device = WaitingDevice(args.tokens_per_s, args.in_flight)
    backend = open_gpu_lane(config, prepared, device, forward_s=None)
    assert backend.reload()
    engine = open_engine(config, prepared, backend, "none")
    engine.scheduler.max_queued_tokens = 1 << 40
    given = requests(args.sequences)
    if not args.tokenize:
        reranks = [one.request for one in (*given, SHORT) if isinstance(one.request, RerankRequest)]
        texts = [QUERY, *(text for rerank in reranks for text in rerank.documents)]
        engine._tokenizer._tokenizer = LookedUp(engine._tokenizer.raw, texts)  # type: ignore[assignment]
    engine.start()
    await closed_loop(engine, given, args.clients, time.perf_counter() + 1)
    device.busy_s, device.tokens = 0.0, 0
    began_s, cpu_s = time.perf_counter(), time.process_time()
    cell, short = await asyncio.gather(
        closed_loop(engine, given, args.clients, began_s + args.seconds),
        closed_loop(engine, [SHORT] if args.beside_short else [], int(args.beside_short), began_s + args.seconds),
    )
    took_s = time.perf_counter() - began_s
    figures = {
        "in_flight": args.in_flight,
        "device_busy": round(device.busy_s / took_s, 3),
        "tokens_per_s": round(device.tokens / took_s),
        "cores": round((time.process_time() - cpu_s) / took_s, 2),
        **percentiles(cell.latencies_s),
        **({"short": percentiles(short.latencies_s)} if args.beside_short else {}),
    }
    await engine.close()
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens-per-s", type=float, default=TOKENS_PER_S)
    parser.add_argument("--token-budget", type=int, default=16_384)
    parser.add_argument("--in-flight", type=int, default=2)
    parser.add_argument("--sequences", type=int, default=32, help="of a request")
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--tokenize", action="store_true")
    parser.add_argument("--beside-short", action="store_true", help="also measure one caller of four short texts")
    args = parser.parse_args()
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    print(json.dumps(asyncio.run(measure(args))))


if __name__ == "__main__":
    main()
