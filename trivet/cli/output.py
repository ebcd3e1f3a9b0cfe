"""Writes JSON lines to stdout or to a file."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, BinaryIO

import orjson
import typer

from trivet.files import open_own
from trivet.json_lines import one_line


def in_a_folder(out: Path | None) -> Path | None:
    """Refuse an output file that cannot be written, before hours of work rather than after."""
    if out is not None and (out.is_dir() or not out.absolute().parent.is_dir()):
        raise typer.BadParameter(f"{str(out)!r} is not a file in an existing folder")
    return out


Out = Annotated[
    Path | None, typer.Option("--out", "-o", callback=in_a_folder, help="Write to this file instead of stdout.")
]


def json_line(record: Mapping[str, Any]) -> bytes:
    """Encode a record as one line. float32 arrays get the fewest digits that identify each value."""
    return one_line(orjson.dumps(record, option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_APPEND_NEWLINE))


def json_vector(values: Sequence[float]) -> orjson.Fragment:
    """Encode float32 numbers with nine significant digits, which identify each of them; needs no numpy."""
    return orjson.Fragment(("[" + ",".join(["%.9g"] * len(values)) + "]") % tuple(values))


@contextmanager
def opened(out: Path | None) -> Iterator[BinaryIO]:
    """Open the file to write to, or stdout.

    A file is written as `NAME.partial` and renamed when it is complete, so a failure leaves `NAME.partial`.
    """
    if out is None:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    partial = partial_path(out)
    with open_own(partial) as file:
        yield file
    partial.replace(out)


def written(out: Path | None) -> dict[Path, str]:
    """Return the resolved paths that a command writes, with the reason why it does not read them."""
    return {} if out is None else dict.fromkeys((out.resolve(), partial_path(out).resolve()), "it is written to")


def partial_path(out: Path) -> Path:
    """Return the path under which a file is written until it is complete."""
    return out.with_name(f"{out.name}.partial")
