"""Opens engines as the configuration describes them: finds the model, converts it once, opens a backend."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from trivet.checkpoint.description import ModelFiles
from trivet.checkpoint.digest_cache import digests_dir
from trivet.checkpoint.flat.model import padded_because
from trivet.checkpoint.gpu_form import fp16_overflow, gpu_precision
from trivet.checkpoint.memory import Dtype, facts_from_directory
from trivet.checkpoint.recipes import SPLADE, is_named_splade
from trivet.checkpoint.source import ModelSource, locate_model
from trivet.checkpoint.templates import known_name
from trivet.checkpoint.verification import Verification, verify
from trivet.config import AppConfig, CpuPrecision, Task
from trivet.engine.backend import Backend
from trivet.engine.cuda.accelerator import Accelerator
from trivet.engine.cuda.backend import GpuLaneBackend
from trivet.engine.engine import Engine
from trivet.engine.openvino.backend import resolve_precision
from trivet.engine.openvino.ir_cache import ensure_ir
from trivet.engine.openvino.open import open_ir
from trivet.engine.openvino.resting import RestingBackend
from trivet.engine.tasks.base import EngineLimits
from trivet.errors import ModelError
from trivet.messages import GpuFacts
from trivet.paths import cache_dir, expanded

if TYPE_CHECKING:
    import torch

    from trivet.engine.cuda.programs import Program


logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PreparedModel:
    """A checkpoint on this machine, and its description."""

    source: ModelSource
    files: ModelFiles
    cache: Path
    verification: Verification

    @property
    def padded_because(self) -> str | None:
        """Why a GPU computes this model on padded sequences, through transformers; None where it does not."""
        return padded_because(self.files.path, self.files.task, self.files.recipe)


def prepare_model(config: AppConfig, task: Task) -> PreparedModel:
    """Locate one of the three models, verify and read its files.

    Raises:
        ModelError: a file is not as published, or the model cannot serve the task.
    """
    cache = cache_dir(config.serving.cache_dir)
    model = config.model_for(task)
    models_dir = expanded(config.serving.models_dir) if config.serving.models_dir else None
    allow_pickle = model.model in config.pickled_models
    source = locate_model(model.model, task, cache, models_dir=models_dir, allow_pickle=allow_pickle)
    verification = verify(source.path, digests_dir(cache))
    logger.info("%s: %s", task, verification)
    files = ModelFiles.read(
        source.path,
        task,
        model.max_tokens,
        prompts=config.embedder.prompts if task == "embedder" else None,
        trained_dimensions=config.embedder.dimensions,
        recipe=_recipe(config, task, source.name),
    )
    if task == "classifier":
        files.entailment()  # refuses a model without such a label before anything is converted
    return PreparedModel(source, files, cache, verification)


def _recipe(config: AppConfig, task: Task, name: str) -> str | None:
    """How a checkpoint is used where no file says so: by the configuration, else by the model's published name."""
    if task == "reranker":
        return config.reranker.template or known_name(name)
    return SPLADE if task == "embedder" and (config.embedder.splade or is_named_splade(name)) else None


def open_cpu_backend(config: AppConfig, prepared: PreparedModel) -> tuple[Backend, str]:
    """Convert a model if need be and compile it for the CPU. Returns the backend and its precision."""
    precision = resolve_precision(config.cpu.precision)
    files = prepared.files
    ir_dir = ensure_ir(prepared.source.path, files.task, precision, prepared.cache, recipe=files.recipe)
    backend = open_ir(ir_dir, precision, threads=config.cpu.threads, token_budget=config.cpu.token_budget)
    return backend, precision


def open_engine(config: AppConfig, prepared: PreparedModel, backend: Backend, precision: str) -> Engine:
    """Build an engine on a backend, with the configuration's limits."""
    cpu_bytes, gpu_bytes = lane_bytes(
        config, prepared.files, precision, backend.gpu.dtype if backend.gpu is not None else "bf16"
    )
    return Engine(
        prepared.files,
        backend,
        name=prepared.source.name,
        revision=prepared.source.revision,
        precision=precision,
        limits=EngineLimits(
            overlap_tokens=config.windows.overlap_tokens,
            max_sequences=config.limits.max_sequences,
            max_request_tokens=config.limits.max_request_tokens,
        ),
        max_queued_tokens=config.limits.max_queued_tokens,
        cpu_bytes=cpu_bytes,
        gpu_bytes=gpu_bytes,
        stuck_after_s=config.gpu.stuck_after_s,
    )


def lane_bytes(
    config: AppConfig, files: ModelFiles, precision: str, gpu_dtype: Dtype = "bf16"
) -> tuple[int | None, int | None]:
    """Estimate the memory of a model on the CPU and on a GPU, without what a process holds besides.

    Args:
        config: of the service.
        files: of the checkpoint.
        precision: in which one of the lanes computes. Where that is the GPU's, and the configuration leaves the
            CPU's open, the CPU counts as one that computes in bf16.
        gpu_dtype: in which a GPU computes, where that is known.

    Returns:
        Bytes; None where config.json states too little.
    """
    try:
        facts = facts_from_directory(files.path)
    except ModelError:
        return None, None
    stated = config.cpu.precision
    on_cpu: CpuPrecision = stated if stated != "auto" else "fp32" if precision == "fp32" else "bf16"
    of_cpu = facts.cpu_bytes(on_cpu, max(config.cpu.token_budget, files.max_tokens))
    return of_cpu, facts.gpu_bytes(gpu_dtype, max(config.gpu.token_budget, files.max_tokens))


def open_cpu_engine(config: AppConfig, task: Task) -> Engine:
    """Open the engine of one model on the CPU."""
    prepared = prepare_model(config, task)
    return open_engine(config, prepared, *open_cpu_backend(config, prepared))


def open_resting_engine(config: AppConfig, task: Task) -> tuple[Engine, RestingBackend]:
    """Open the engine of one model on the CPU, with a backend that can drop its weights and open them again."""
    prepared = prepare_model(config, task)
    backend = RestingBackend(lambda: open_cpu_backend(config, prepared)[0], model=task, clock=time.monotonic)
    return open_engine(config, prepared, backend, resolve_precision(config.cpu.precision)), backend


def open_cuda_backend(
    config: AppConfig, prepared: PreparedModel, process_bytes: Callable[[], int | None] = lambda: None
) -> tuple[GpuLaneBackend, str]:
    """Open one model's GPU lane on CUDA; it begins offloaded. Returns it and the name of its dtype.

    Args:
        config: of the service.
        prepared: the model.
        process_bytes: what the driver says that this process holds of the GPU; None if it does not say.
    """
    # torch costs 200 MB of host memory: imported only in replicas that use it.
    import torch

    from trivet.engine.cuda.runner import DTYPES, CudaAccelerator, prepare_process

    files = prepared.files
    overflow = fp16_overflow(files.architecture.config)
    chosen = gpu_precision(config.gpu.dtype, torch.cuda.get_device_capability(), overflow)
    if chosen.because is not None:
        logger.warning("%s: computed in %s on the GPU: %s", files.task, chosen.dtype, chosen.because)
    share = prepare_process(config.model_for(files.task).gpu_fraction, model=files.task, process_bytes=process_bytes)
    program = partial(gpu_program, prepared, DTYPES[chosen.dtype])
    accelerator = CudaAccelerator(program, graph_tokens=config.gpu.graph_tokens, share=share)
    facts = GpuFacts(chosen.dtype, chosen.because, accelerator.attention_padded_because)
    if facts.attention_padded_because is not None:
        logger.warning("%s: attention is padded on the GPU: %s", files.task, facts.attention_padded_because)
    backend = open_gpu_lane(config, prepared, accelerator, forward_s=config.gpu.forward_ms / 1e3, gpu=facts)
    return backend, chosen.dtype


def gpu_program(prepared: PreparedModel, dtype: "torch.dtype", device: "torch.device") -> "Program":
    """Describe what computes a checkpoint on a device: our own modules where they do, else transformers'."""
    from trivet.engine.cuda.programs import FlatProgram, PaddedProgram

    files = prepared.files
    if prepared.padded_because is None:
        return FlatProgram(files.path, files.task, dtype, device, files.recipe)
    from trivet.engine.models.load import load_torch_model

    return PaddedProgram(partial(load_torch_model, files.path, files.task, dtype, recipe=files.recipe), device)


def open_gpu_lane(
    config: AppConfig,
    prepared: PreparedModel,
    accelerator: Accelerator,
    *,
    forward_s: float | None,
    gpu: GpuFacts | None = None,
) -> GpuLaneBackend:
    """Put the GPU lane on an accelerator, by the configuration's budget; the last two as in `GpuLaneBackend`."""
    return GpuLaneBackend(
        accelerator,
        model=prepared.files.task,
        token_budget=config.gpu.token_budget,
        forward_s=forward_s,
        clock=time.monotonic,
        gpu=gpu,
    )
