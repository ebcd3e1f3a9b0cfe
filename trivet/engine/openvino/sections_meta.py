"""The layout of an IR folder whose model is cut at its attentions: one graph per part, and the facts that join them.

Imports neither torch nor OpenVINO; see `trivet.engine.openvino.export.sections` for what the parts compute.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from trivet.checkpoint.files import read_json

SECTIONS_FILE = "sections.json"
ROTARY_FILE = "rotary.npz"
ATTENTION = "attention"
HEAD = "head"
LOCAL = "sliding_attention"
"""The layer type whose queries see only the keys in its sliding window; all others see every key."""

Floats32 = NDArray[np.float32]


def section_name(index: int) -> str:
    """Return the name of a section's graph. There is one section more than layers."""
    return f"section_{index:02}"


@dataclass(frozen=True)
class SectionsMeta:
    """The facts about the model that its graphs do not contain."""

    layer_types: list[str]
    """For each layer: which rotary table turns its queries, and whether they see all keys."""
    sliding_window: int
    """How many tokens to either side a query of a local layer sees."""
    hidden_size: int
    heads: int

    @property
    def head_size(self) -> int:
        """D."""
        return self.hidden_size // self.heads

    @classmethod
    def read(cls, ir_dir: Path) -> Self | None:
        """Read the facts of an IR folder; None if its model is one graph."""
        file = ir_dir / SECTIONS_FILE
        return cls(**read_json(file)) if file.exists() else None

    def write(self, ir_dir: Path, rotary: Mapping[str, Floats32]) -> None:
        """Write the facts and the rotary tables, `<layer type>_cos` and `_sin`, each (positions, D)."""
        (ir_dir / SECTIONS_FILE).write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8")
        np.savez(ir_dir / ROTARY_FILE, allow_pickle=False, **rotary)


def read_rotary(ir_dir: Path) -> dict[str, Floats32]:
    """Read the tables that `SectionsMeta.write` has written."""
    with np.load(ir_dir / ROTARY_FILE, allow_pickle=False) as tables:
        return dict(tables)
