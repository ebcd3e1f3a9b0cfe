"""File names for people and for JSON: the system allows any bytes in them, text does not."""

from pathlib import Path


def shown(path: Path | str) -> str:
    """The path, with bytes that are not UTF-8 written as `\\xe9`. Where it differs from the path, no text can be it."""
    return str(path).encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
