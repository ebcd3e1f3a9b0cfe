"""Selects files of an index by a pattern, with the rules of `.gitignore`. Pure."""

import os
from collections.abc import Callable

from trivet.index.gitignore import parsed, verdict


def path_matcher(pattern: str) -> Callable[[str], bool]:
    """Return whether a path, or a folder that it is in, matches the pattern.

    A pattern without a slash, other than at its end, matches a name anywhere: `docs`, `*.py`. Any other is relative to
    the index's folder: `src/api`, `docs/**/*.md`. `.` matches every path.

    Raises:
        ValueError: no path can match, for instance because a bracket is not closed.
    """
    plain = pattern.removeprefix("./")
    if plain in ("", ".", "/"):
        return lambda path: True
    patterns = parsed(b"\\" * plain.startswith(("#", "!")) + os.fsencode(plain))
    if not patterns:
        raise ValueError(f"{pattern!r} is a pattern that no path can match; give one such as docs/ or *.py")

    def matches(path: str) -> bool:
        parts = path.split("/")
        ways = (("/".join(parts[:count]), count < len(parts)) for count in range(1, len(parts) + 1))
        return any(verdict(patterns, os.fsencode(way), is_folder) for way, is_folder in ways)

    return matches
