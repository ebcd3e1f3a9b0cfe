"""Makes file names printable: file names may contain any bytes, but text and JSON may not."""

from pathlib import Path


def shown(path: Path | str) -> str:
    """Return the path with bytes that are not UTF-8 written as `\\xe9`; equal to the path if it is valid text."""
    return str(path).encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
