"""The two heads that bge-m3 keeps beside its encoder: weights of tokens, and vectors of tokens.

They are published as pickles (`sparse_linear.pt`, `colbert_linear.pt`), which `trivet.checkpoint.unpickle` turns into
safetensors for models that the configuration names. Only those are read here.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Self

from trivet.errors import ModelError

HEADS = ("sparse_linear", "colbert_linear")
"""Names of the files, without their endings."""


def pickled_heads(model_dir: Path) -> list[Path]:
    """Return the heads that are pickles, and that no safetensors file stands for."""
    found = (model_dir / f"{name}.pt" for name in HEADS)
    return [file for file in found if file.is_file() and not file.with_suffix(".safetensors").is_file()]


@dataclass(frozen=True, slots=True)
class M3Heads:
    """The heads of one checkpoint; None where it lacks one."""

    weights: Path | None
    """File of the layer that gives each token a weight."""
    vectors: Path | None
    """File of the layer that gives each token a vector."""

    @classmethod
    def read(cls, model_dir: Path) -> Self | None:
        """Find the heads; None if there are none."""
        weights, vectors = (model_dir / f"{name}.safetensors" for name in HEADS)
        found = cls(weights if weights.is_file() else None, vectors if vectors.is_file() else None)
        return found if found.weights or found.vectors else None

    @property
    def vector_size(self) -> int:
        """Features of a token's vector; 0 if there are none.

        Raises:
            ModelError: the file is no layer.
        """
        if self.vectors is None:
            return 0
        from safetensors import SafetensorError, safe_open  # only here: looking a converted model up needs no numpy

        try:
            with safe_open(self.vectors, framework="numpy") as opened:
                return int(opened.get_slice("weight").get_shape()[0])
        except SafetensorError as error:
            raise ModelError(f"{self.vectors} cannot be read: {error}") from error
