"""Maps input indices in errors back to the caller's request."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from trivet.errors import InvalidInput


@contextmanager
def remap_field_index(positions: Sequence[int]) -> Iterator[None]:
    """Replace the index `i` of an error raised inside by `positions[i]`, the input's position in the whole request."""
    try:
        yield
    except InvalidInput as error:
        if error.index is not None:
            error.index = positions[error.index]
        raise
