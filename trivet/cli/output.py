"""JSON lines, to stdout or to a file."""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, BinaryIO

import orjson
import typer


def in_a_folder(out: Path | None) -> Path | None:
    """Refuse a file that cannot be written, before hours of work rather than after."""
    if out is not None and (out.is_dir() or not out.absolute().parent.is_dir()):
        raise typer.BadParameter(f"{str(out)!r} is not a file in a folder that exists")
    return out


Out = Annotated[Path | None, typer.Option("--out", "-o", callback=in_a_folder, help="Write here instead of to stdout.")]


def json_line(record: Mapping[str, Any]) -> bytes:
    """One line. float32 arrays are written with as many digits as tell them apart, and no more."""
    return orjson.dumps(record, option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_APPEND_NEWLINE)


@contextmanager
def opened(out: Path | None) -> Iterator[BinaryIO]:
    """The file to write to, or stdout.

    A file gets its name when it is whole; after a failure what there was so far stays beside it as `NAME.partial`.
    """
    if out is None:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    partial = partial_path(out)
    with partial.open("wb") as file:
        yield file
    partial.replace(out)


def written(out: Path | None) -> dict[Path, str]:
    """The files that a command itself writes, resolved, and why it does not read them."""
    return {} if out is None else dict.fromkeys((out.resolve(), partial_path(out).resolve()), "it is written to")


def partial_path(out: Path) -> Path:
    """Where a file grows until it is whole."""
    return out.with_name(f"{out.name}.partial")
