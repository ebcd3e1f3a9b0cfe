"""Smaller forms of vectors. Pure.

- `int8` and `uint8`: a vector's components relative to its own largest one, which becomes ±127. The direction keeps 8
  bits, so cosines are those of the floats within about 0.001; lengths are lost. `uint8` is `int8` + 128.
- `ubinary` and `binary`: one bit for the sign of each component, eight to a byte, the first one highest. `binary` is
  `ubinary` - 128. They are compared by Hamming distance.
"""

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from trivet.errors import InvalidInput

EmbeddingType = Literal["float", "int8", "uint8", "binary", "ubinary"]
DEFAULT_TYPE: EmbeddingType = "float"


def check_type(kind: EmbeddingType, dimensions: int, field: str) -> None:
    """Refuse a binary form of dimensions that do not fill whole bytes.

    Args:
        kind: the form.
        dimensions: of the vectors.
        field: the one that asks for it.

    Raises:
        InvalidInput: names the field.
    """
    if kind in ("binary", "ubinary") and dimensions % 8:
        raise InvalidInput(
            f"{kind} needs a number of dimensions that is a multiple of 8, not {dimensions}", field=field
        )


def quantize(vectors: NDArray[np.float32], kind: EmbeddingType, field: str = "embedding_types") -> NDArray[Any]:
    """Return (inputs, dimensions) vectors in another form; the binary ones are (inputs, dimensions / 8).

    Raises:
        InvalidInput: as `check_type`.
    """
    check_type(kind, vectors.shape[-1], field)
    match kind:
        case "float":
            return np.ascontiguousarray(vectors)
        case "int8" | "uint8":
            largest = np.abs(vectors).max(axis=-1, keepdims=True)
            levels: NDArray[np.float32] = np.rint(vectors * (127 / np.maximum(largest, 1e-12)))
            return levels.astype(np.int8) if kind == "int8" else (levels + 128).astype(np.uint8)
        case "binary" | "ubinary":
            packed: NDArray[np.uint8] = np.packbits(vectors > 0, axis=-1)
            return packed if kind == "ubinary" else (packed.astype(np.int16) - 128).astype(np.int8)
