"""The CPU lane for models that are cut at their attentions: a long forward is hundreds of short steps.

A batch of B rows × T tokens is kept as B·T rows of hidden states. The sections between attentions run over slices of
`SLICE_ROWS` of them; a global attention over `GLOBAL_QUERIES` queries at a time, a local one over `LOCAL_QUERIES` and
the keys within reach. So the work of local layers grows with the length, not its square; memory beyond the rows
themselves is that of one slice; and between two steps another batch may run. bench/LOG.md has the measurements.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trivet.engine.batch.sequences import TokenBatch
from trivet.engine.openvino.backend import CpuPrecision, packing_batch, settings_for
from trivet.engine.openvino.mapped import drop_resident_pages
from trivet.engine.openvino.sections_meta import ATTENTION, HEAD, LOCAL, SectionsMeta, read_rotary, section_name
from trivet.engine.openvino.telemetry import forbid_telemetry
from trivet.messages import Floats

forbid_telemetry()

import openvino  # noqa: E402 - its import alone would report to other processes

SLICE_ROWS = 512
"""Rows of one slice of a section: fewer leave the matrix units idle, more need more memory in every graph."""
GLOBAL_QUERIES = 512
LOCAL_QUERIES = 128
DENSE_LOCAL_TOKENS = 256
"""Up to here a local layer attends over whole rows with a mask: two or three windows would save nothing."""
UNCUT_TOKENS = 512
"""A batch of up to so many padded tokens is one step."""

Array = NDArray[Any]


class _Graph:
    """One part: reads and writes arrays that its caller owns."""

    def __init__(self, core: openvino.Core, file: Path, settings: Mapping[str, Any], held_as: openvino.Type) -> None:
        self._held_as = held_as
        model = core.read_model(file)
        ports = openvino.preprocess.PrePostProcessor(model)
        self.inputs = {port.get_any_name() for port in model.inputs}
        for name in self.inputs & _HELD:
            ports.input(name).tensor().set_element_type(held_as)
        for name in {port.get_any_name() for port in model.outputs} & _HELD:
            ports.output(name).tensor().set_element_type(held_as)
        self._request = core.compile_model(ports.build(), "CPU", settings).create_infer_request()

    def run(self, arrays: Mapping[str, Array]) -> None:
        """Inputs and outputs, by name; all of them contiguous."""
        for name, array in arrays.items():
            self._request.set_tensor(name, self._tensor(name, array))
        self._request.infer()

    def answer(self, arrays: Mapping[str, Array]) -> Floats:
        """Run on the inputs that the graph has, and copy its float32 output."""
        self.run({name: array for name, array in arrays.items() if name in self.inputs})
        outputs: Floats = np.array(self._request.get_output_tensor(0).data, dtype=np.float32, copy=True)
        return outputs

    def _tensor(self, name: str, array: Array) -> openvino.Tensor:
        if name in _HELD and self._held_as == openvino.Type.bf16:
            return openvino.Tensor(array, openvino.Shape(array.shape), openvino.Type.bf16)
        return openvino.Tensor(array, shared_memory=True)


_HELD = frozenset({"hidden", "mixed", "query", "key", "value", "next_hidden", "next_mixed"})
"""What goes from part to part, held in the precision in which the graphs compute. numpy has no bf16: its bits are kept
as uint16, and nothing but the graphs looks at them."""


@dataclass(frozen=True, slots=True)
class _Rows:
    """The state of one forward. Rows past the last token of the batch fill its last slice; nobody attends to them."""

    hidden: tuple[Array, Array]
    """Two of (N, H): a section reads one and writes the other."""
    query: Array
    key: Array
    value: Array
    mixed: Array
    """Each (N, h, D)."""


class SectionedBackend:
    """Runs batches through the parts of one model; see `trivet.engine.backend.Backend`."""

    fault = None  # a CPU has no context to poison
    packs = False

    def __init__(
        self, ir_dir: Path, meta: SectionsMeta, precision: CpuPrecision, *, threads: int | None, token_budget: int
    ) -> None:
        core, settings = openvino.Core(), settings_for(precision, threads)
        in_bf16 = settings["INFERENCE_PRECISION_HINT"] == "bf16"
        self._held_dtype = np.uint16 if in_bf16 else np.float32
        held_as = openvino.Type.bf16 if in_bf16 else openvino.Type.f32

        def graph(name: str) -> _Graph:
            return _Graph(core, ir_dir / f"{name}.xml", settings, held_as)

        self._meta = meta
        self._sections = [graph(section_name(index)) for index in range(len(meta.layer_types) + 1)]
        self._attention = graph(ATTENTION)
        self._head = graph(HEAD)
        self._rotary = read_rotary(ir_dir)
        self._token_budget = token_budget
        self.device = f"cpu (openvino {precision})"
        # The first forward packs the weights; what was mapped for it is then a second copy of the model.
        self.forward(packing_batch())
        for file in ir_dir.glob("*.bin"):
            drop_resident_pages(file)

    @property
    def token_budget(self) -> int:
        """Padded tokens of one forward; constant, since host memory does not run out under a batch."""
        return self._token_budget

    def forward(self, batch: TokenBatch) -> Floats:
        """(rows, outputs) float32."""
        *_, outputs = self.steps(batch)
        assert outputs is not None
        return outputs

    def steps(self, batch: TokenBatch) -> Iterator[Floats | None]:
        """The same in steps: None after each but the last, which gives the outputs."""
        rows = self._new_rows(batch)
        for _ in self._encode(batch, rows):
            if batch.padded_tokens > UNCUT_TOKENS:
                yield None
        hidden = rows.hidden[len(self._meta.layer_types) % 2][: batch.padded_tokens]
        yield self._head.answer(
            {
                "hidden": hidden.reshape(*batch.input_ids.shape, self._meta.hidden_size),
                "attention_mask": batch.attention_mask,
            }
        )

    def close(self) -> None:
        """Drop the graphs, and with them their buffers."""
        del self._sections, self._attention, self._head

    def _new_rows(self, batch: TokenBatch) -> _Rows:
        count = slices(batch.padded_tokens)[-1].stop
        hidden = (count, self._meta.hidden_size)
        by_head = (count, self._meta.heads, self._meta.head_size)
        first, second = np.empty(hidden, self._held_dtype), np.empty(hidden, self._held_dtype)
        query, key, value = (np.empty(by_head, self._held_dtype) for _ in range(3))
        # Not every row of `mixed` is written, and what lies there must stay finite: a masked NaN is still a NaN.
        return _Rows((first, second), query, key, value, np.zeros(by_head, self._held_dtype))

    def _encode(self, batch: TokenBatch, rows: _Rows) -> Iterator[None]:
        of_rows = slices(batch.padded_tokens)
        filler = (0, of_rows[-1].stop - batch.padded_tokens)
        ids = np.pad(batch.input_ids.reshape(-1), filler)  # (N,)
        positions = np.pad(np.tile(np.arange(batch.input_ids.shape[1]), len(batch.input_ids)), filler)  # (N,)
        turns = {
            kind: {name: self._rotary[f"{kind}_{name}"][positions] for name in ("cos", "sin")}  # each (N, D)
            for kind in set(self._meta.layer_types)
        }
        masks = _Masks(batch.attention_mask, self._meta.reach_tokens)
        for index, section in enumerate(self._sections):
            read, written = rows.hidden[(index + 1) % 2], rows.hidden[index % 2]
            kind = self._meta.layer_types[index] if index < len(self._meta.layer_types) else None
            for part in of_rows:
                arrays = {"ids": ids[part]} if index == 0 else {"hidden": read[part], "mixed": rows.mixed[part]}
                if kind is not None:
                    arrays |= {name: table[part] for name, table in turns[kind].items()}
                    arrays |= {"query": rows.query[part], "key": rows.key[part], "value": rows.value[part]}
                section.run(arrays | {"next_hidden": written[part]})
                yield
            if kind is not None:
                yield from self._attend(kind == LOCAL, batch, rows, masks)

    def _attend(self, local: bool, batch: TokenBatch, rows: _Rows, masks: "_Masks") -> Iterator[None]:
        """One layer's attention: `mixed` from query, key and value."""
        shape = (*batch.input_ids.shape, self._meta.heads, self._meta.head_size)
        query, key, value, mixed = (
            array[: batch.padded_tokens].reshape(shape) for array in (rows.query, rows.key, rows.value, rows.mixed)
        )
        if batch.input_ids.shape[1] <= (DENSE_LOCAL_TOKENS if local else GLOBAL_QUERIES):
            allowed = masks.dense_local if local else masks.tokens
            self._attention.run({"query": query, "key": key, "value": value, "allowed": allowed, "next_mixed": mixed})
            yield
            return
        reach = self._meta.reach_tokens if local else None
        for row, length in enumerate(batch.attention_mask.sum(axis=1).tolist()):
            for queries, keys in windows(length, reach):
                self._attention.run(
                    {
                        "query": query[row : row + 1, queries],
                        "key": key[row : row + 1, keys],
                        "value": value[row : row + 1, keys],
                        "allowed": window_mask(queries, keys, reach),
                        "next_mixed": mixed[row : row + 1, queries],
                    }
                )
                yield


class _Masks:
    """Which keys the queries of a batch may see where whole rows attend at once."""

    def __init__(self, attention_mask: Array, reach_tokens: int) -> None:
        self.tokens = attention_mask.astype(bool)[:, None, None, :]  # (B, 1, 1, T)
        self._reach_tokens = reach_tokens

    @cached_property
    def dense_local(self) -> Array:
        """(B, 1, T, T): keys that are tokens and within reach, and every position itself."""
        every = slice(0, self.tokens.shape[-1])
        # A padded query sees itself, so that no softmax runs over nothing.
        near = window_mask(every, every, self._reach_tokens)
        allowed: Array = (self.tokens & near) | np.eye(every.stop, dtype=bool)
        return allowed


def slices(rows: int) -> list[slice]:
    """Slices of `SLICE_ROWS`, the last of them grown to one of few sizes. Pure.

    A graph compiles kernels for every size that it meets, at the cost of a forward: sizes are multiples of 8 up to 64,
    of 32 beyond.
    """
    whole, rest = divmod(rows, SLICE_ROWS)
    cut = [slice(index * SLICE_ROWS, (index + 1) * SLICE_ROWS) for index in range(whole)]
    if rest:
        step = 8 if rest <= 64 else 32
        cut.append(slice(whole * SLICE_ROWS, whole * SLICE_ROWS + -(-rest // step) * step))
    return cut


def windows(tokens: int, reach_tokens: int | None) -> Iterator[tuple[slice, slice]]:
    """Which queries of a row attend together, and the keys that any of them may see; None sees all. Pure."""
    size = GLOBAL_QUERIES if reach_tokens is None else LOCAL_QUERIES
    for first in range(0, tokens, size):
        end = min(tokens, first + size)
        if reach_tokens is None:
            yield slice(first, end), slice(0, tokens)
        else:
            yield slice(first, end), slice(max(0, first - reach_tokens), min(tokens, end + reach_tokens))


def window_mask(queries: slice, keys: slice, reach_tokens: int | None) -> Array:
    """(1, 1, queries, keys) boolean, True within reach; (1, 1, 1, keys) where reach is unlimited. Pure."""
    if reach_tokens is None:
        return np.ones((1, 1, 1, keys.stop - keys.start), dtype=bool)
    distance = np.arange(queries.start, queries.stop)[:, None] - np.arange(keys.start, keys.stop)
    within: Array = (np.abs(distance) <= reach_tokens)[None, None]
    return within
