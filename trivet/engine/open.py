"""From configuration to a running engine: find the model, convert it once, open a backend."""

from dataclasses import dataclass
from pathlib import Path

from trivet.config import AppConfig, Task
from trivet.engine.backend import Backend
from trivet.engine.backends.openvino_cpu import OpenVinoBackend, resolve_precision
from trivet.engine.engine import Engine
from trivet.engine.ir_cache import ensure_ir
from trivet.engine.model_files import ModelFiles
from trivet.engine.model_source import ModelSource, cache_dir, locate_model
from trivet.engine.tasks.base import EngineLimits


@dataclass(frozen=True, slots=True)
class PreparedModel:
    """A checkpoint that is on this machine, and what its files say."""

    source: ModelSource
    files: ModelFiles
    cache: Path


def prepare_model(config: AppConfig, task: Task) -> PreparedModel:
    """Locate one of the three models and read its files; ModelError if it cannot serve the task."""
    cache = cache_dir(config.serving.cache_dir)
    model = config.model_for(task)
    source = locate_model(model.model, task, cache)
    files = ModelFiles.read(source.path, task, model.max_tokens)
    if task == "classifier":
        files.entailment()  # refuses a model without such a label before anything is converted
    return PreparedModel(source, files, cache)


def open_cpu_backend(config: AppConfig, prepared: PreparedModel) -> tuple[Backend, str]:
    """Convert if need be and compile for the CPU; returns the backend and its precision."""
    precision = resolve_precision(config.cpu.precision)
    ir_dir = ensure_ir(prepared.source.path, prepared.files.task, precision, prepared.cache)
    backend = OpenVinoBackend(ir_dir, precision, threads=config.cpu.threads, token_budget=config.cpu.token_budget)
    return backend, precision


def open_engine(config: AppConfig, prepared: PreparedModel, backend: Backend, precision: str) -> Engine:
    """Put an engine on a backend, by the configuration's limits."""
    return Engine(
        prepared.files,
        backend,
        name=prepared.source.name,
        revision=prepared.source.revision,
        precision=precision,
        limits=EngineLimits(overlap_tokens=config.windows.overlap_tokens, max_sequences=config.limits.max_sequences),
        max_queued_tokens=config.limits.max_queued_tokens,
    )


def open_cpu_engine(config: AppConfig, task: Task) -> Engine:
    """One model on the CPU lane."""
    prepared = prepare_model(config, task)
    return open_engine(config, prepared, *open_cpu_backend(config, prepared))
