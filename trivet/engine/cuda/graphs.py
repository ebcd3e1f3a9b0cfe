"""CUDA graphs: all launches of a forward, recorded once and replayed as one.

A forward launches hundreds of kernels from Python, at 5 to 10 µs each, and more while other threads of the process want
the interpreter between any two of them. For few tokens that is nearly all of its time.
A graph fixes every shape. So graphs are recorded for rising numbers of tokens, and a batch is filled up to the next
one: with tokens of one more sequence, and with sequences without tokens.

All of them share one pool of memory, the largest recorded first. Only one may therefore run at a time, which one stream
ensures.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from trivet.engine.batch.token_batch import Int32s, TokenBatch
from trivet.engine.cuda.programs import Program
from trivet.engine.cuda.token_budget import TYPICAL_TOKENS

BUCKET_TOKENS: Final = (64, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048, 3072, 4096, 6144, 8192, 10240, 12288, 14336)
_TILE_TOKENS: Final = 128
"""Queries that attention computes together."""
_MOST_TILES: Final = 1024
"""Attention looks at the tiles of every sequence as if it were the longest, whether it has tokens or not. Up to here
that costs little."""
_TOKENS_PER_SEQUENCE: Final = 32
_FEWEST_SEQUENCES: Final = 8


@dataclass(frozen=True, slots=True)
class Bucket:
    """The sizes of one graph."""

    tokens: int
    longest: int
    """Tokens of the longest sequence that the model reads."""

    @property
    def max_len(self) -> int:
        """Tokens of the longest sequence that fits."""
        return min(self.tokens, self.longest)

    @property
    def sequences(self) -> int:
        """How many sequences with results it holds, besides the one of the fillers."""
        tiles = -(-self.max_len // _TILE_TOKENS)
        return min(max(_FEWEST_SEQUENCES, self.tokens // _TOKENS_PER_SEQUENCE), _MOST_TILES // tiles)

    @property
    def is_useful(self) -> bool:
        """Whether it holds as many sequences as a batch of this size usually has."""
        return self.sequences * TYPICAL_TOKENS >= self.tokens


def buckets_up_to(most_tokens: int, longest: int) -> list[Bucket]:
    """Return the ascending buckets for batches of up to `most_tokens`, the last of exactly that size.

    A model that reads long sequences gets no large ones: they would hold too few.
    """
    sizes = [*(tokens for tokens in BUCKET_TOKENS if tokens < most_tokens), most_tokens]
    return [bucket for tokens in sizes if (bucket := Bucket(tokens, longest)).is_useful]


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
class Recorded:
    """One graph, with the memory that it reads and writes."""

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
        self._recorded: list[Recorded] = []  # ascending

    def find(self, tokens: int, sequences: int) -> "Recorded | None":
        """Return the smallest graph that holds a batch of this size; None if none does."""
        for recorded in self._recorded:
            if tokens <= recorded.bucket.tokens and sequences <= recorded.bucket.sequences:
                return recorded
        return None

    def has_room_for_halves(self, tokens: int, sequences: int) -> bool:
        """Whether a batch fits but for its number of sequences, so that its halves can be replayed."""
        return sequences > 1 and bool(self._recorded) and tokens <= self._recorded[-1].bucket.tokens

    @torch.inference_mode()
    def record(self, max_tokens: int) -> None:
        """Record the graphs for batches of up to `max_tokens`; blocks for up to a second.

        Raises torch's error if their memory does not fit; `forget` must follow.
        """
        most = min(max_tokens, self._program.graph_tokens)
        buckets = buckets_up_to(most, self._program.max_tokens) if most else []
        pool = torch.cuda.graph_pool_handle()
        self._recorded = [self._record(bucket, pool) for bucket in reversed(buckets)][::-1]

    def _example(self, bucket: Bucket) -> tuple[Tensor, Callable[[], Tensor]]:
        """Inputs on the device, and a forward over them."""
        lengths = [min(TYPICAL_TOKENS, bucket.tokens // 8)] * 8
        batch = TokenBatch.of([np.ones(length, dtype=np.int32) for length in lengths])
        arrays = fill_up(batch, bucket)
        inputs = torch.from_numpy(np.concatenate(arrays)).to(self._device)
        parts = split(inputs, arrays)
        return inputs, lambda: self._program.forward(parts, bucket.max_len)

    def _record(self, bucket: Bucket, pool: Any) -> Recorded:
        inputs, forward = self._example(bucket)
        forward()  # what it sets up at its first run must not be recorded
        self._stream.synchronize()
        graph = torch.cuda.CUDAGraph()
        # Other threads of this process may ask the driver for figures meanwhile.
        with torch.cuda.graph(graph, pool=pool, stream=self._stream, capture_error_mode="thread_local"):
            outputs = forward()
        return Recorded(bucket, inputs, outputs, graph)

    def forget(self) -> None:
        """Drop all graphs and their memory."""
        self._recorded = []


def split(flat: Tensor, arrays: Sequence[Int32s]) -> list[Tensor]:
    """Cut what lies end to end into tensors of the arrays' shapes, as views."""
    sizes: Any = [array.size for array in arrays]
    parts: tuple[Tensor, ...] = torch.split(flat, sizes)
    return [part.view(array.shape) for part, array in zip(parts, arrays, strict=True)]
