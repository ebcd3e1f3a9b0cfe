"""The CPU lane for models that are cut at their attentions: a long forward is hundreds of short steps.

A batch of S sequences, padded to T tokens, is kept as S·T hidden states, one after another. The sections between
attentions run over slices of `SLICE_TOKENS` of them. A global attention runs over `GLOBAL_QUERIES` queries at a time, a
local one over `LOCAL_QUERIES` and the keys in their sliding window. So the work of local layers grows with the length
instead of its square, memory beyond the hidden states is that of one slice, and another batch may run between two
steps. bench/LOG.md has the measurements.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trivet.config import CpuPrecision
from trivet.engine.backend import InSteps
from trivet.engine.batch.layout import PADDED
from trivet.engine.batch.token_batch import Int64s, TokenBatch
from trivet.engine.openvino.backend import settings_for, warmup_batch
from trivet.engine.openvino.mapped import drop_resident_pages
from trivet.engine.openvino.sections_meta import ATTENTION, HEAD, LOCAL, SectionsMeta, read_rotary, section_name
from trivet.engine.openvino.telemetry import forbid_telemetry
from trivet.engine.text.memory import give_back
from trivet.messages import Floats

forbid_telemetry()

import openvino  # noqa: E402 - its import alone would report to other processes

SLICE_TOKENS = 512
"""Tokens in one slice of a section: fewer leave the matrix units idle, more need more memory in every graph."""
GLOBAL_QUERIES = 512
LOCAL_QUERIES = 128
DENSE_LOCAL_TOKENS = 256
"""Up to this length a local layer attends over whole sequences with a mask: two or three windows would save nothing."""
UNCUT_TOKENS = 512
"""A batch of up to so many padded tokens is one step."""

Array = NDArray[Any]


class _Graph:
    """One part of the model. It reads and writes arrays that its caller owns."""

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
        """Run on contiguous input and output arrays, given by name."""
        for name, array in arrays.items():
            self._request.set_tensor(name, self._tensor(name, array))
        self._request.infer()

    def answer(self, arrays: Mapping[str, Array]) -> Floats:
        """Run on those of the arrays that the graph reads, and return a copy of its float32 output."""
        self.run({name: array for name, array in arrays.items() if name in self.inputs})
        outputs: Floats = np.array(self._request.get_output_tensor(0).data, dtype=np.float32, copy=True)
        return outputs

    def release_scratch(self) -> None:
        """Return its buffers."""
        self._request.get_compiled_model().release_memory()

    def _tensor(self, name: str, array: Array) -> openvino.Tensor:
        if name in _HELD and self._held_as == openvino.Type.bf16:
            return openvino.Tensor(array, openvino.Shape(array.shape), openvino.Type.bf16)
        return openvino.Tensor(array, shared_memory=True)


_HELD = frozenset({"hidden", "attn_output", "query", "key", "value", "next_hidden"})
"""What passes from part to part, in the precision in which the graphs compute. numpy has no bf16: the bits are kept as
uint16, and only the graphs read them."""


@dataclass(frozen=True, slots=True)
class _States:
    """The state of one forward: S·T places, rounded up to whole slices. No query attends to the places beyond S·T."""

    hidden: tuple[Array, Array]
    """Two of (places, H): a section reads one and writes the other."""
    query: Array
    key: Array
    value: Array
    attn_output: Array
    """Each (places, heads, D)."""


@dataclass(frozen=True, slots=True)
class _Padded:
    """A batch in its padded form."""

    ids: Int64s
    attention_mask: Int64s
    """Each (S, T)."""
    lengths: tuple[int, ...]

    @classmethod
    def of(cls, batch: TokenBatch) -> "_Padded":
        arrays = batch.padded()
        return cls(arrays["input_ids"], arrays["attention_mask"], batch.lengths)

    @property
    def tokens(self) -> int:
        """S·T."""
        return self.ids.size


class SectionedBackend:
    """Runs batches through the parts of one model; see `trivet.engine.backend.Backend`."""

    falls_back = False
    gpu = None
    fault = None  # a CPU has no context to poison
    in_flight = 1
    layout = PADDED

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
        # In bf16 many scores would be equal.
        self._head = _Graph(core, ir_dir / f"{HEAD}.xml", settings_for("fp32", threads), held_as)
        self._rotary = read_rotary(ir_dir)
        self._token_budget = token_budget
        self.device = f"cpu (openvino {precision})"
        # The first forward packs the weights; the file mapped for it is then a second copy of the model.
        self.launch(warmup_batch()).result()
        for file in ir_dir.glob("*.bin"):
            drop_resident_pages(file)

    @property
    def token_budget(self) -> int:
        """Largest cost of a batch, in padded tokens; constant, since host memory does not run out under a batch."""
        return self._token_budget

    def launch(self, batch: TokenBatch) -> InSteps:
        """Prepare a forward; a step is one slice of a section, or one call of an attention."""
        return InSteps(self._steps(batch))

    def _steps(self, batch: TokenBatch) -> Iterator[Floats | None]:
        padded = _Padded.of(batch)
        states = self._new_states(padded)
        for _ in self._encode(padded, states):
            if padded.tokens > UNCUT_TOKENS:
                yield None
        hidden = states.hidden[len(self._meta.layer_types) % 2][: padded.tokens]
        yield self._head.answer(
            {
                "hidden": hidden.reshape(*padded.ids.shape, self._meta.hidden_size),
                "attention_mask": padded.attention_mask,
            }
        )

    def release_scratch(self) -> None:
        """Return the buffers of the graphs to the system; what was packed stays."""
        for graph in (*self._sections, self._attention, self._head):
            graph.release_scratch()
        give_back()

    def close(self) -> None:
        """Drop the graphs and their buffers."""
        del self._sections, self._attention, self._head

    def _new_states(self, padded: _Padded) -> _States:
        places = slices(padded.tokens)[-1].stop
        hidden = (places, self._meta.hidden_size)
        by_head = (places, self._meta.heads, self._meta.head_size)
        first, second = np.empty(hidden, self._held_dtype), np.empty(hidden, self._held_dtype)
        query, key, value = (np.empty(by_head, self._held_dtype) for _ in range(3))
        # Some places of attn_output are never written, and must stay finite: a masked NaN is still a NaN.
        return _States((first, second), query, key, value, np.zeros(by_head, self._held_dtype))

    def _encode(self, padded: _Padded, states: _States) -> Iterator[None]:
        all_slices = slices(padded.tokens)
        filler = (0, all_slices[-1].stop - padded.tokens)
        ids = np.pad(padded.ids.reshape(-1), filler)  # (places,)
        positions = np.pad(np.tile(np.arange(padded.ids.shape[1]), len(padded.ids)), filler)  # (places,)
        turns = {
            kind: {name: self._rotary[f"{kind}_{name}"][positions] for name in ("cos", "sin")}  # each (places, D)
            for kind in set(self._meta.layer_types)
        }
        masks = _Masks(padded.attention_mask, self._meta.sliding_window)
        for index, section in enumerate(self._sections):
            read, written = states.hidden[(index + 1) % 2], states.hidden[index % 2]
            kind = self._meta.layer_types[index] if index < len(self._meta.layer_types) else None
            for part in all_slices:
                arrays: dict[str, Array] = {"ids": ids[part]}
                if index > 0:
                    arrays = {"hidden": read[part], "attn_output": states.attn_output[part]}
                if kind is not None:
                    arrays |= {name: table[part] for name, table in turns[kind].items()}
                    arrays |= {"query": states.query[part], "key": states.key[part], "value": states.value[part]}
                section.run(arrays | {"next_hidden": written[part]})
                yield
            if kind is not None:
                yield from self._attend(kind == LOCAL, padded, states, masks)

    def _attend(self, local: bool, padded: _Padded, states: _States, masks: "_Masks") -> Iterator[None]:
        """One layer's attention: `attn_output` from query, key and value."""
        shape = (*padded.ids.shape, self._meta.heads, self._meta.head_size)
        query, key, value, attn_output = (
            array[: padded.tokens].reshape(shape)
            for array in (states.query, states.key, states.value, states.attn_output)
        )
        if padded.ids.shape[1] <= (DENSE_LOCAL_TOKENS if local else GLOBAL_QUERIES):
            attn_mask = masks.dense_local if local else masks.tokens
            self._attention.run(
                {"query": query, "key": key, "value": value, "attn_mask": attn_mask, "attn_output": attn_output}
            )
            yield
            return
        sliding_window = self._meta.sliding_window if local else None
        for index, length in enumerate(padded.lengths):
            one = slice(index, index + 1)
            for queries, keys in windows(length, sliding_window):
                self._attention.run(
                    {
                        "query": query[one, queries],
                        "key": key[one, keys],
                        "value": value[one, keys],
                        "attn_mask": window_mask(queries, keys, sliding_window),
                        "attn_output": attn_output[one, queries],
                    }
                )
                yield


class _Masks:
    """Which keys the queries of a batch may see where whole sequences attend at once."""

    def __init__(self, attention_mask: Array, sliding_window: int) -> None:
        self.tokens = attention_mask.astype(bool)[:, None, None, :]  # (S, 1, 1, T)
        self._sliding_window = sliding_window

    @cached_property
    def dense_local(self) -> Array:
        """(S, 1, T, T): keys that are tokens and in the sliding window, and every position itself."""
        every = slice(0, self.tokens.shape[-1])
        # A padded query sees itself, so that no softmax runs over nothing.
        near = window_mask(every, every, self._sliding_window)
        attn_mask: Array = (self.tokens & near) | np.eye(every.stop, dtype=bool)
        return attn_mask


def slices(tokens: int) -> list[slice]:
    """Cut into slices of `SLICE_TOKENS`, the last of them rounded up to one of few sizes. Pure.

    A graph compiles kernels for every size that it meets, at the cost of a forward. Sizes are multiples of 8 up to 64,
    of 32 beyond.
    """
    whole, rest = divmod(tokens, SLICE_TOKENS)
    cut = [slice(index * SLICE_TOKENS, (index + 1) * SLICE_TOKENS) for index in range(whole)]
    if rest:
        step = 8 if rest <= 64 else 32
        cut.append(slice(whole * SLICE_TOKENS, whole * SLICE_TOKENS + -(-rest // step) * step))
    return cut


def windows(tokens: int, sliding_window: int | None) -> Iterator[tuple[slice, slice]]:
    """Yield which queries of a sequence attend together, and the keys that any of them may see. Pure.

    Args:
        tokens: of the sequence.
        sliding_window: how many tokens to either side a query sees; None: all.
    """
    size = GLOBAL_QUERIES if sliding_window is None else LOCAL_QUERIES
    for first in range(0, tokens, size):
        end = min(tokens, first + size)
        if sliding_window is None:
            yield slice(first, end), slice(0, tokens)
        else:
            yield slice(first, end), slice(max(0, first - sliding_window), min(tokens, end + sliding_window))


def window_mask(queries: slice, keys: slice, sliding_window: int | None) -> Array:
    """Return which keys each query sees, (1, 1, queries, keys) boolean; (1, 1, 1, keys) without a window. Pure."""
    if sliding_window is None:
        return np.ones((1, 1, 1, keys.stop - keys.start), dtype=bool)
    distance = np.arange(queries.start, queries.stop)[:, None] - np.arange(keys.start, keys.stop)
    within: Array = (np.abs(distance) <= sliding_window)[None, None]
    return within
