"""The forms in which an index keeps its vectors, on disk and in memory. Pure.

form      bytes a component      compared as
float16   2 (in memory 4)        the vector itself, within 0.001 of its cosine
int8      1                      levels relative to the vector's largest component
binary    1/8                    signs, with the question's own numbers
"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from trivet.quantize import check_type, quantize

Vectors = NDArray[np.float32]
StoredForm = Literal["float16", "int8", "binary"]
DEFAULT_FORM: StoredForm = "float16"

_ON_DISK: dict[StoredForm, np.dtype[Any]] = {
    "float16": np.dtype("<f2"),
    "int8": np.dtype("i1"),
    "binary": np.dtype("u1"),
}


def check_form(form: StoredForm, dimensions: int) -> None:
    """Refuse dimensions whose signs do not fill whole bytes.

    Raises:
        InvalidInput: names the form and the dimensions.
    """
    if form == "binary":
        check_type("binary", dimensions, "vectors")


def row_bytes(form: StoredForm, dimensions: int) -> int:
    """Size of one vector on disk."""
    return _columns(form, dimensions) * _ON_DISK[form].itemsize


def packed_vectors(vectors: Vectors, form: StoredForm) -> bytes:
    """(passages, dimensions) vectors of any length as they are kept on disk."""
    match form:
        case "float16":
            return unit_vectors(vectors).astype(_ON_DISK[form]).tobytes()
        case "int8":
            return quantize(vectors, "int8").tobytes()
        case "binary":
            return quantize(vectors, "ubinary").tobytes()


def stored_rows(stored: bytes, form: StoredForm, dimensions: int) -> NDArray[Any]:
    """What `packed_vectors` packed: (passages, dimensions), or (passages, dimensions / 8) of bits."""
    return np.frombuffer(stored, _ON_DISK[form]).reshape(-1, _columns(form, dimensions))


def _columns(form: StoredForm, dimensions: int) -> int:
    return dimensions // 8 if form == "binary" else dimensions


def unit_vectors(vectors: Vectors) -> Vectors:
    """Each row with length one; rows of zeros stay."""
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    units: Vectors = np.divide(vectors, lengths, out=np.zeros_like(vectors), where=lengths > 0)
    return units


@dataclass(frozen=True, slots=True)
class VectorTable:
    """Vectors of length one, kept in their form until they are compared."""

    form: StoredForm
    _kept: NDArray[Any]
    _scale: Vectors
    """What each row is multiplied by to have length one, (rows, 1); not used of 16-bit floats."""

    @classmethod
    def empty(cls, form: StoredForm, rows: int, dimensions: int) -> "VectorTable":
        """A table to be filled by `put`."""
        # Products of 16-bit floats are slow: each search would convert them.
        kept = np.empty((rows, _columns(form, dimensions)), np.float32 if form == "float16" else _ON_DISK[form])
        return cls(form, kept, np.full((rows, 1), 1 / np.sqrt(dimensions), np.float32))

    def put(self, at: int, rows: NDArray[Any]) -> None:
        """Fill the rows from `at` on with what `stored_rows` gave."""
        self._kept[at : at + len(rows)] = rows
        if self.form == "int8":
            lengths = np.linalg.norm(rows.astype(np.float32), axis=1, keepdims=True)
            self._scale[at : at + len(rows)] = 1 / np.maximum(lengths, 1)  # a row of zeros stays one

    def __len__(self) -> int:
        return len(self._kept)

    def units(self, chosen: slice | NDArray[np.int64]) -> Vectors:
        """(rows, dimensions) of length one; of 16-bit floats a view, if they are a slice."""
        kept = self._kept[chosen]
        match self.form:
            case "float16":
                return kept
            case "int8":
                levels: Vectors = kept * self._scale[chosen]
                return levels
            case "binary":
                signs: Vectors = (2 * np.unpackbits(kept, axis=1).astype(np.float32) - 1) * self._scale[chosen]
                return signs
