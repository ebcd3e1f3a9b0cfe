"""JSON lines: one JSON value on each line, where only a line feed ends a line."""

from collections.abc import Iterator

_SEPARATORS = {separator.encode(): b"\\u%04x" % ord(separator) for separator in "\x85\u2028\u2029"}
"""Ends of lines to Unicode, and so to `str.splitlines` and to some HTTP libraries; JSON need not escape them."""


def one_line(json: bytes) -> bytes:
    """Escape in a JSON value, which may end with a line feed, what else a reader might take for a line's end."""
    for separator, escaped in _SEPARATORS.items():
        json = json.replace(separator, escaped)
    return json


class LineSplitter:
    """Splits a stream of bytes into lines. Time grows linearly with the bytes, also for lines of many chunks."""

    def __init__(self) -> None:
        self._begun: list[bytes] = []

    def lines(self, chunk: bytes) -> Iterator[str]:
        """Yield the lines that end in this chunk, except blank ones."""
        first, *rest = chunk.split(b"\n")
        self._begun.append(first)
        for begun in rest:
            yield from self.rest()
            self._begun.append(begun)

    def rest(self) -> Iterator[str]:
        """Yield what no line feed has ended yet, unless it is blank."""
        line = b"".join(self._begun).decode(errors="replace")
        self._begun = []
        if line.strip():
            yield line
