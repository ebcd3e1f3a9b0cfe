"""Errors name an input by its place in what was dispatched; callers know its place in what they sent."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from trivet.errors import InvalidInput

_INDEXED = re.compile(r"(?P<field>.*)\[(?P<index>\d+)\]")


@contextmanager
def told_by_position(positions: Sequence[int]) -> Iterator[None]:
    """Rename `field[i]` in errors raised inside to `field[positions[i]]`."""
    try:
        yield
    except InvalidInput as error:
        match = _INDEXED.fullmatch(error.param or "")
        if match is None:
            raise
        named = f"{match['field']}[{positions[int(match['index'])]}]"
        error.message = error.message.replace(str(error.param), named, 1)
        error.args = (error.message,)
        error.param = named
        raise
