"""Converted models for tests: each model is converted once per run, in a process that has imported torch already."""

import os
from pathlib import Path

import pytest
from filelock import FileLock

from trivet.config import CpuPrecision, Task
from trivet.engine.openvino.ir_cache import ensure_ir, ir_key


def shared_ir_cache(factory: pytest.TempPathFactory) -> Path:
    """Return the folder of converted models that all test processes of this run share."""
    base = factory.getbasetemp()
    return (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "converted"


def convert_here(model_dir: Path, task: Task, precision: CpuPrecision, cache_dir: Path) -> Path:
    """Return the folder of a converted model, as `ensure_ir` does, but convert it in this process if there is none.

    Most of what a conversion's own process does is to import the frameworks. tests/engine/openvino/test_ir_cache.py
    tests that process. int8 keeps it, since NNCF changes torch.
    """
    if precision != "int8":
        model_dir = model_dir.resolve()
        cache_dir.mkdir(parents=True, exist_ok=True)
        key = ir_key(model_dir, task, precision, cache_dir / "digests")
        ir_dir = cache_dir / f"{model_dir.name}-{task}-{precision}-{key[:16]}"
        with FileLock(cache_dir / f"{ir_dir.name}.lock"):
            if not ir_dir.is_dir():
                from trivet.engine.openvino.export.convert import convert

                convert(model_dir, task, precision, ir_dir)
        assert ensure_ir(model_dir, task, precision, cache_dir) == ir_dir
    return ensure_ir(model_dir, task, precision, cache_dir)
