"""Converts a checkpoint to OpenVINO IR: ``python -m trivet.engine.openvino.export.convert``.

Only this process imports torch, transformers and NNCF; a serving process maps the result. The output folder holds
``openvino_model.xml``, ``openvino_model.bin`` and ``meta.json`` (:class:`IrMeta`), and appears complete or not at all.
A model that can be cut at its attentions (:mod:`~trivet.engine.openvino.export.sections`) has one graph for each part
instead.

Precisions:

- ``fp32``: weights as fp32.
- ``bf16``: weights as fp16, which the CPU plugin turns into bf16 when it packs them (fp16 keeps more of their
  mantissa than storing bf16 would). Executed in bf16 by ``INFERENCE_PRECISION_HINT``.
- ``int8``: weights as int8 with one scale and one zero point per output channel; activations are quantised while
  running, in groups of ``DYNAMIC_QUANTIZATION_GROUP_SIZE`` = :data:`~trivet.engine.openvino.ir_cache.INT8_GROUP_SIZE`.

Each conversion ends by running the written IR, as it will be served, against the torch model on two sequences of
different length.
"""

from __future__ import annotations

from trivet.engine.openvino.telemetry import forbid_telemetry

forbid_telemetry()

import argparse  # noqa: E402 - telemetry must be shut before anything imports openvino
import gc  # noqa: E402
import os  # noqa: E402
import shutil  # noqa: E402
import sys  # noqa: E402
import time  # noqa: E402
import warnings  # noqa: E402
from collections.abc import Sequence  # noqa: E402
from dataclasses import replace  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any, get_args  # noqa: E402

import numpy as np  # noqa: E402
import openvino  # noqa: E402
import torch  # noqa: E402
from numpy.typing import NDArray  # noqa: E402

from trivet.checkpoint.recipes import RECIPES  # noqa: E402
from trivet.config import TASKS, CpuPrecision, Task  # noqa: E402
from trivet.engine.batch.token_batch import TokenBatch  # noqa: E402
from trivet.engine.models.load import TorchModel, load_torch_model  # noqa: E402
from trivet.engine.models.outputs import SpladeModel, TokenModel  # noqa: E402
from trivet.engine.openvino.export import sections  # noqa: E402
from trivet.engine.openvino.export.packed import PackedModel, can_be_packed  # noqa: E402
from trivet.engine.openvino.export.split import split_head  # noqa: E402
from trivet.engine.openvino.ir_cache import HEAD_FILE, MODEL_FILE, IrMeta, converter_versions  # noqa: E402
from trivet.engine.openvino.open import open_ir  # noqa: E402
from trivet.engine.openvino.sections_meta import HEAD  # noqa: E402
from trivet.errors import ModelError, TrivetError  # noqa: E402

_CHECK_LENGTHS = (150, 70)
"""Tokens of the two sequences that are traced and compared. The longer has more than two blocks of local attention."""

_LARGEST_ERROR: dict[CpuPrecision, float] = {"fp32": 1e-4, "bf16": 0.2, "int8": 0.4}
"""Largest ‖IR - torch‖ / ‖torch‖ allowed. It is generous at the lower precisions, where a reranker's only logit may be
near zero: it catches a graph that computes something else, whose error is about 1."""


def convert(model_dir: Path, task: Task, precision: CpuPrecision, out_dir: Path, *, recipe: str | None = None) -> None:
    """Write the IR of one checkpoint to ``out_dir``, which must not exist.

    Peak memory is about twice the checkpoint's size. Half of it is the checkpoint itself, mapped.

    Raises:
        ModelError: the checkpoint cannot be loaded for the task, or its IR does not compute what torch does.
    """
    started = time.monotonic()
    _say(f"loading {model_dir} as a {task}")
    model = load_torch_model(model_dir, task, torch.float32, recipe=recipe, for_export=True)
    example = _example_batch(model.architecture.vocab_size)
    padded = _tensors(example.padded())
    with torch.inference_mode():
        found = model(**{name: padded[name] for name in model.input_names})
    expected = [one.numpy() for one in (found if isinstance(found, tuple) else (found,))]

    has_scores = task != "embedder"
    partial = out_dir.with_name(f".{out_dir.name}.{os.getpid()}.partial")
    partial.mkdir(parents=True)
    try:
        if isinstance(model, SpladeModel | TokenModel):
            _write_whole(model, padded, precision, partial, has_scores=False)
        elif sections.can_be_cut(model):
            for part in sections.parts(model):
                _write_part(part, precision, partial)
            sections.describe(model).write(partial, sections.rotary_tables(model))
        elif can_be_packed(model):
            _write_whole(PackedModel(model), _tensors(example.binned()), precision, partial, has_scores=has_scores)
        else:
            _write_whole(model, padded, precision, partial, has_scores=has_scores)
        del model
        gc.collect()
        _say("checking against torch")
        error = _relative_error(partial, precision, example, expected)
        IrMeta(model_dir.name, task, precision, error, converter_versions(precision)).write(partial)
        partial.rename(out_dir)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    _say(f"done in {time.monotonic() - started:.0f} s; relative error {error:.1e}")


def _example_batch(vocab_size: int) -> TokenBatch:
    rng = np.random.default_rng(0)
    # Ids below 5 are special tokens in most vocabularies: XLM-R counts positions by comparing with its pad id.
    ids = [rng.integers(min(5, vocab_size - 1), vocab_size, size=n, dtype=np.int32) for n in _CHECK_LENGTHS]
    return TokenBatch.of(ids)


def _tensors(arrays: dict[str, NDArray[np.int64]]) -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


def _write_whole(
    model: TorchModel | PackedModel,
    inputs: dict[str, torch.Tensor],
    precision: CpuPrecision,
    folder: Path,
    *,
    has_scores: bool,
) -> None:
    _say("tracing")
    example = {name: inputs[name] for name in model.input_names}
    outputs = TokenModel.output_names if isinstance(model, TokenModel) else ("output",)
    graph = _trace(model, example, dict.fromkeys(example, (0, 1)), outputs)
    if has_scores and (parts := split_head(graph)) is not None:
        graph, head = parts
        _write(head, "fp32", folder / HEAD_FILE)
    if precision == "int8":
        _say("compressing weights to int8")
    _write(graph, precision, folder / MODEL_FILE)


def _write_part(part: sections.Part, precision: CpuPrecision, folder: Path) -> None:
    _say(f"tracing {part.name}")
    kept = "fp32" if part.name == HEAD else precision
    _write(_trace(part.module, part.example, part.dynamic, part.outputs), kept, folder / f"{part.name}.xml")


def _trace(
    module: torch.nn.Module,
    example: dict[str, torch.Tensor],
    dynamic: dict[str, tuple[int, ...]],
    outputs: tuple[str, ...],
) -> Any:
    """Trace a module into a graph whose inputs may differ from their examples in the `dynamic` dimensions."""

    def shape_of(name: str) -> openvino.PartialShape:
        return openvino.PartialShape([-1 if at in dynamic[name] else n for at, n in enumerate(example[name].shape)])

    with torch.inference_mode(), warnings.catch_warnings():
        # Tracing warns of every Python `if` on a length, and transformers of its deprecations. Whether the graph
        # computes the same at other lengths is checked by comparing it with torch.
        warnings.simplefilter("ignore")
        graph = openvino.convert_model(
            module.eval(),
            example_input=example,
            input=[(name, shape_of(name), _IR_TYPES[tensor.dtype]) for name, tensor in example.items()],
        )
    for port in graph.inputs:
        # An input that the graph passes through shares its tensor with an output, and has that one's name too.
        port.get_tensor().set_names(port.get_names() & example.keys())
    for port, name in zip(graph.outputs, outputs, strict=True):
        port.get_tensor().set_names({name})
    return graph


_IR_TYPES = {torch.int64: openvino.Type.i64, torch.float32: openvino.Type.f32, torch.bool: openvino.Type.boolean}


def _write(graph: Any, precision: CpuPrecision, file: Path) -> None:
    if precision == "int8":
        import nncf

        graph = nncf.compress_weights(graph, mode=nncf.CompressWeightsMode.INT8_ASYM)
    openvino.save_model(graph, file, compress_to_fp16=precision != "fp32")


def _relative_error(
    ir_dir: Path, precision: CpuPrecision, batch: TokenBatch, expected: Sequence[NDArray[np.float32]]
) -> float:
    """The larger error of what is given of each sequence and, in a second array, of each token."""
    backend = open_ir(ir_dir, precision, threads=None, token_budget=sum(_CHECK_LENGTHS))
    pooled, *tokens = expected
    pairs = [(backend.launch(batch).result(), pooled)]
    pairs += [(backend.launch(replace(batch, per_token=True)).result(), one[batch.is_token]) for one in tokens]
    backend.close()
    error = max(
        float(np.linalg.norm(actual - right)) / max(float(np.linalg.norm(right)), 1e-6) for actual, right in pairs
    )
    if not error <= _LARGEST_ERROR[precision]:  # also true of NaN
        raise ModelError(f"the {precision} graph of {ir_dir} differs from torch by {error:.3g} of its norm")
    return error


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)  # noqa: T201 - progress of a command-line tool, read by ir_cache


def main() -> int:
    """Run the command line; the last line on stderr says what went wrong."""
    parser = argparse.ArgumentParser(description="Convert a checkpoint to OpenVINO IR.")
    parser.add_argument("--model", type=Path, required=True, help="checkpoint directory")
    parser.add_argument("--task", choices=TASKS, required=True)
    parser.add_argument("--precision", choices=get_args(CpuPrecision), required=True)
    parser.add_argument("--recipe", choices=RECIPES, help="of a checkpoint whose files do not say how to use it")
    parser.add_argument("--out", type=Path, required=True, help="folder to create")
    args = parser.parse_args()
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")  # read when load.py imports transformers
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TQDM_DISABLE", "1")
    if args.out.exists():
        parser.error(f"{args.out} exists")
    try:
        convert(args.model, args.task, args.precision, args.out, recipe=args.recipe)
    except TrivetError as error:
        _say(f"error: {error.message}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
