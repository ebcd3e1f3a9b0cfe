"""Opens the CPU lane of a converted model."""

from pathlib import Path

from trivet.config import CpuPrecision
from trivet.engine.backend import Backend
from trivet.engine.openvino.backend import OpenVinoBackend
from trivet.engine.openvino.sectioned_backend import SectionedBackend
from trivet.engine.openvino.sections_meta import SectionsMeta


def open_ir(ir_dir: Path, precision: CpuPrecision, *, threads: int | None, token_budget: int) -> Backend:
    """Compile the graphs of an IR folder: one, or several for a model that is cut at its attentions."""
    sections = SectionsMeta.read(ir_dir)
    if sections is None:
        return OpenVinoBackend(ir_dir, precision, threads=threads, token_budget=token_budget)
    return SectionedBackend(ir_dir, sections, precision, threads=threads, token_budget=token_budget)
