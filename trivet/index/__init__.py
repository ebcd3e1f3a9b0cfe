"""An index: the passages of a folder's files and their vectors, in one SQLite file; and the folder's files themselves.

    IndexWriter   one at a time; adds, replaces and removes files, each in one step that a crash cannot halve
    IndexReader   any number, beside a writer; the passages and files nearest to a vector or to a file
    walk, read_text   what of a folder is text that git would not ignore

Nothing here computes a vector. All of it blocks. What reads or writes an index needs numpy, and is imported when it is
asked for: commands that only read a folder's files work without.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from trivet.index.errors import (
    IndexDamaged,
    IndexFileError,
    IndexInUse,
    IndexUnavailable,
    NotAnIndex,
    OtherForm,
    OtherModel,
)
from trivet.index.git_settings import excludes_file
from trivet.index.identity import IndexModel
from trivet.index.names import shown
from trivet.index.patterns import path_matcher
from trivet.index.plan import FileState, Plan, digest_of
from trivet.index.texts import FileText, read_text
from trivet.index.walking import Skipped, walk

if TYPE_CHECKING:
    from trivet.index.reader import FileMatch, Hit, IndexReader
    from trivet.index.writer import IndexWriter

_WITH_NUMPY = {"FileMatch": "reader", "Hit": "reader", "IndexReader": "reader", "IndexWriter": "writer"}
"""Name → the module that defines it."""


def __getattr__(name: str) -> Any:
    if name not in _WITH_NUMPY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_WITH_NUMPY[name]}"), name)


__all__ = [
    "FileMatch",
    "FileState",
    "FileText",
    "Hit",
    "IndexDamaged",
    "IndexFileError",
    "IndexInUse",
    "IndexModel",
    "IndexReader",
    "IndexUnavailable",
    "IndexWriter",
    "NotAnIndex",
    "OtherForm",
    "OtherModel",
    "Plan",
    "Skipped",
    "digest_of",
    "excludes_file",
    "path_matcher",
    "read_text",
    "shown",
    "walk",
]
