"""CUDA graphs for small batches: all launches of a forward, recorded once and replayed as one.

A forward launches hundreds of kernels from Python, at 5 to 10 µs each. For few tokens that is nearly all of its time.
A graph fixes every shape. So graphs are recorded for rising numbers of tokens, and a batch is filled up to the next
one: with tokens of one more sequence, and with sequences without tokens.

All of them share one pool of memory, the largest recorded first. Only one may therefore run at a time, which one stream
ensures.
"""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from trivet.engine.batch.token_batch import Int32s, TokenBatch
from trivet.engine.cuda.programs import Program

logger = logging.getLogger(__name__)

BUCKET_TOKENS: Final = (64, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048, 3072, 4096, 6144, 8192)
_TOKENS_PER_SEQUENCE: Final = 16
_SEQUENCES: Final = (8, 64)
"""Fewest and most sequences of a graph. Each costs attention a little in every layer, with tokens or without."""
LAUNCHES_MATTER_UP_TO: Final = 1.5
"""A forward this many times slower than the smallest one is bound by computing and no longer by launches."""


@dataclass(frozen=True, slots=True)
class Bucket:
    """The sizes of one graph: tokens, and sequences besides the one that holds the fillers."""

    tokens: int

    @property
    def sequences(self) -> int:
        """How many sequences with results it holds."""
        fewest, most = _SEQUENCES
        return min(max(fewest, self.tokens // _TOKENS_PER_SEQUENCE), most)

    def holds(self, tokens: int, sequences: int) -> bool:
        """Whether a batch of this size can be filled up to it."""
        return tokens <= self.tokens and sequences <= self.sequences


def fill_up(batch: TokenBatch, bucket: Bucket) -> tuple[Int32s, ...]:
    """Fill a batch up to a bucket's size: ids, token types and positions (tokens,), boundaries (sequences + 2,).

    The fillers are token 0 at position 0, and belong to one more sequence, after all others.
    """
    ids, token_types, positions = np.zeros((3, bucket.tokens), dtype=np.int32)
    ids[: batch.tokens], token_types[: batch.tokens] = batch.ids, batch.token_types
    positions[: batch.tokens] = batch.positions
    boundaries = np.full(bucket.sequences + 2, bucket.tokens, dtype=np.int32)
    boundaries[: len(batch.cu_seqlens)] = batch.cu_seqlens
    return ids, token_types, positions, boundaries


@dataclass(slots=True)
class _Recorded:
    bucket: Bucket
    inputs: Tensor
    """(items,) int32 on the device: where a replay reads."""
    outputs: Tensor
    """(sequences + 1, outputs) fp32 on the device: where it writes."""
    graph: Any


class Graphs:
    """The graphs of one program whose weights are loaded; they are of no use once it is unloaded."""

    def __init__(self, program: Program, device: torch.device, stream: Any) -> None:
        self._program = program
        self._device = device
        self._stream = stream
        self._recorded: list[_Recorded] = []  # ascending

    @property
    def largest_tokens(self) -> int:
        """Most tokens that a graph holds; 0 without any."""
        return self._recorded[-1].bucket.tokens if self._recorded else 0

    def find(self, tokens: int, sequences: int) -> _Recorded | None:
        """Return the smallest graph that holds a batch of this size; None if none does."""
        return next((one for one in self._recorded if one.bucket.holds(tokens, sequences)), None)

    @torch.inference_mode()
    def record(self, max_tokens: int) -> None:
        """Record graphs up to the size at which launches no longer matter here, and at most `max_tokens`.

        Blocks for some tenths of a second. Raises torch's error if their memory does not fit; `forget` must follow.
        """
        buckets = [Bucket(tokens) for tokens in BUCKET_TOKENS if tokens <= min(max_tokens, self._program.graph_tokens)]
        buckets = up_to_computing(buckets, self._eager_s)
        pool = torch.cuda.graph_pool_handle()
        recorded = [self._record(bucket, pool) for bucket in reversed(buckets)]
        self._recorded = recorded[::-1]

    def _example(self, bucket: Bucket) -> tuple[Tensor, Callable[[], Tensor]]:
        """Inputs on the device, and a forward over them."""
        lengths = [max(1, bucket.tokens // 8)] * min(8, bucket.tokens)
        batch = TokenBatch.of([np.ones(length, dtype=np.int32) for length in lengths])
        arrays = fill_up(batch, bucket)
        inputs = torch.from_numpy(np.concatenate(arrays)).to(self._device)
        parts = split(inputs, arrays)
        return inputs, lambda: self._program.forward(parts, min(bucket.tokens, self._program.max_tokens))

    def _eager_s(self, bucket: Bucket) -> float:
        """Measure a forward without a graph, in seconds: the faster of two, after one that loads kernels."""
        _, forward = self._example(bucket)
        took_s = []
        for _ in range(3):
            self._stream.synchronize()
            began_s = time.perf_counter()
            forward()
            self._stream.synchronize()
            took_s.append(time.perf_counter() - began_s)
        return min(took_s[1:])

    def _record(self, bucket: Bucket, pool: Any) -> _Recorded:
        inputs, forward = self._example(bucket)
        forward()  # what it sets up at its first run must not be recorded
        self._stream.synchronize()
        graph = torch.cuda.CUDAGraph()
        # Other threads of this process may ask the driver for figures meanwhile.
        with torch.cuda.graph(graph, pool=pool, stream=self._stream, capture_error_mode="thread_local"):
            outputs = forward()
        return _Recorded(bucket, inputs, outputs, graph)

    def forget(self) -> None:
        """Drop all graphs and their memory."""
        self._recorded = []


def up_to_computing(buckets: Sequence[Bucket], seconds: Callable[[Bucket], float]) -> list[Bucket]:
    """Return the ascending buckets up to the first whose forward is bound by computing.

    Args:
        buckets: ascending.
        seconds: measures a forward of that size without a graph.
    """
    chosen: list[Bucket] = []
    smallest_s: float | None = None
    for bucket in buckets:
        took_s = seconds(bucket)
        smallest_s = took_s if smallest_s is None else min(smallest_s, took_s)
        chosen.append(bucket)
        if took_s > LAUNCHES_MATTER_UP_TO * smallest_s:
            break
    return chosen


def split(flat: Tensor, arrays: Sequence[Int32s]) -> list[Tensor]:
    """Cut what lies end to end into tensors of the arrays' shapes, as views."""
    sizes: Any = [array.size for array in arrays]
    parts: tuple[Tensor, ...] = torch.split(flat, sizes)
    return [part.view(array.shape) for part, array in zip(parts, arrays, strict=True)]
