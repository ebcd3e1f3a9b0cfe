"""The CPU lane of most models: one OpenVINO graph, mapped from the IR cache. Needs neither torch nor transformers."""

import os
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from trivet.config import CpuPrecision, Precision
from trivet.engine.backend import OneStep
from trivet.engine.batch.layout import BINNED, PADDED
from trivet.engine.batch.token_batch import TokenBatch
from trivet.engine.openvino.ir_cache import HEAD_FILE, INT8_GROUP_SIZE, MODEL_FILE
from trivet.engine.openvino.mapped import drop_resident_pages
from trivet.engine.openvino.telemetry import forbid_telemetry
from trivet.engine.text.memory import give_back
from trivet.messages import Floats

forbid_telemetry()

import openvino  # noqa: E402 - its import alone would report to other processes


def resolve_precision(asked: Precision) -> CpuPrecision:
    """Replace `auto` by bf16 where the processor multiplies bf16 natively, else by fp32."""
    if asked != "auto":
        return asked
    capabilities = openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return "bf16" if "BF16" in capabilities else "fp32"


SHAPES_KEPT = 100
"""OpenVINO, and oneDNN below it, keep compiled kernels for each shape of a batch. Their own limits are 5,000 and 1,024
shapes. At half a megabyte per shape of a small model, a process would grow for days."""


def settings_for(precision: CpuPrecision, threads: int | None) -> dict[str, Any]:
    """Return the properties with which OpenVINO compiles a graph for this lane."""
    # oneDNN below OpenVINO reads its own limit once, when the first kernel is made.
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", str(SHAPES_KEPT))
    settings: dict[str, Any] = {
        # One stream: a batch uses every thread. Parallel streams repack the weights once each.
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": 1,
        "ENABLE_MMAP": True,
        "INFERENCE_PRECISION_HINT": "f32" if precision == "fp32" else "bf16",
        "CPU_RUNTIME_CACHE_CAPACITY": SHAPES_KEPT,
    }
    if precision == "int8":
        settings["DYNAMIC_QUANTIZATION_GROUP_SIZE"] = INT8_GROUP_SIZE
        if "BF16" not in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
            settings["INFERENCE_PRECISION_HINT"] = "f32"
    if threads is not None:
        settings["INFERENCE_NUM_THREADS"] = threads
    return settings


class OpenVinoBackend:
    """Runs batches through one compiled graph; see `trivet.engine.backend.Backend`."""

    falls_back = False
    gpu = None
    fault = None  # a CPU has no context to poison
    in_flight = 1

    def __init__(self, ir_dir: Path, precision: CpuPrecision, *, threads: int | None, token_budget: int) -> None:
        core = openvino.Core()
        model = core.read_model(ir_dir / MODEL_FILE)
        compiled = core.compile_model(model, "CPU", settings_for(precision, threads))
        self._request = compiled.create_infer_request()
        head = ir_dir / HEAD_FILE
        self._head = (
            core.compile_model(head, "CPU", settings_for("fp32", threads)).create_infer_request()
            if head.exists()
            else None
        )
        self._input_names = [port.get_any_name() for port in compiled.inputs]
        self.layout = BINNED if "first_token_indices" in self._input_names else PADDED
        self._token_budget = token_budget
        self.device = f"cpu (openvino {precision})"
        # The first forward packs the weights; the file mapped for it is then a second copy of the model.
        self.launch(warmup_batch()).result()
        drop_resident_pages((ir_dir / MODEL_FILE).with_suffix(".bin"))

    @property
    def token_budget(self) -> int:
        """Largest cost of a batch, in tokens; constant, since host memory does not run out under a batch."""
        return self._token_budget

    def launch(self, batch: TokenBatch) -> OneStep:
        """Prepare a forward; its one step runs the graph from end to end."""
        return OneStep(partial(self._infer, batch))

    def _infer(self, batch: TokenBatch) -> Floats:
        available = batch.binned() if self.layout is BINNED else batch.padded()
        self._request.infer({name: available[name] for name in self._input_names}, share_inputs=True)
        last = self._request
        if self._head is not None:
            self._head.infer([last.get_output_tensor(0).data], share_inputs=True)
            last = self._head
        # The output tensor is reused by the next forward: copy.
        outputs: Floats
        if batch.per_token:
            outputs = self._request.get_tensor("tokens").data[batch.is_token]  # (tokens, numbers), a copy
            return outputs.astype(np.float32, copy=False)
        outputs = np.array(last.get_output_tensor(0).data, dtype=np.float32, copy=True)
        return outputs

    def release_scratch(self) -> None:
        """Return the buffers of the graphs to the system; what was packed stays."""
        for request in (self._request, self._head):
            if request is not None:
                request.get_compiled_model().release_memory()
        give_back()

    def close(self) -> None:
        """Drop the graphs and their buffers."""
        del self._request, self._head


def warmup_batch() -> TokenBatch:
    """Return the batch of the first forward, which packs the weights: 4 sequences of 128 tokens.

    Any vocabulary has its ids, and they vary enough for every expert of a mixture to be used.
    """
    ids = np.random.default_rng(0).integers(2, 34, size=(4, 128), dtype=np.int32)
    return TokenBatch.of(list(ids))
