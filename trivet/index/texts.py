"""Reads a file as text, or says why it is none."""

import re
from dataclasses import dataclass
from pathlib import Path

from trivet.files import read_regular
from trivet.index.plan import digest_of
from trivet.index.walking import Skipped

DEFAULT_MAX_BYTES = 1024**2
MOST_BYTES = 64 * 1024**2
"""Of a file that is read at all."""

_PICTURES = frozenset({
    "ai", "avif", "bmp", "drawio", "eps", "gif", "heic", "ico", "jpeg", "jpg", "jxl", "png", "ppm", "ps", "psd", "svg",
    "svgz", "tif", "tiff", "webp", "xcf", "xpm",
})  # fmt: skip
DATA = "data"
"""Why a file of which `is_data` is true is omitted."""
_DATA = frozenset({"csv", "geojson", "ipynb", "json", "jsonl", "lock", "map", "ndjson", "sum", "tsv"})
_SVG = re.compile(r"(?:\s|<\?xml[^>]*>|(?><!--.*?-->)|<!DOCTYPE[^>]*>)*+<(?:\w+:)?svg[\s/>]", re.DOTALL)
_LOOKED_AT_CHARACTERS = 4096
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")


@dataclass(frozen=True, slots=True)
class FileText:
    """A file's text, and the digest of the bytes it was read from."""

    text: str
    digest: str


def read_text(path: Path, *, max_bytes: int = DEFAULT_MAX_BYTES) -> FileText | Skipped:
    """The text of a file in UTF-8, or in UTF-16 with a byte order mark; a byte order mark is not part of it.

    Pictures are omitted, also those that are text, such as SVG: their words are not about what they show.

    Args:
        path: the file.
        max_bytes: larger ones are omitted, unread.
    """
    name = str(path)
    try:
        name.encode()
    except UnicodeEncodeError:
        return Skipped(name, "its name is not UTF-8")  # JSON could not say where its text is from
    if path.suffix[1:].lower() in _PICTURES:
        return Skipped(name, "a picture")
    try:
        content = read_regular(path, max_bytes)
    except OSError as error:
        return Skipped(name, error.strerror or str(error))
    if len(content) > max_bytes:
        return Skipped(name, f"larger than {max_bytes} bytes")
    text = text_of(name, content)
    return text if isinstance(text, Skipped) else FileText(text, digest_of(content))


def is_data(path: Path) -> bool:
    """Whether a file, by its name, holds tables or records instead of prose or code."""
    return path.suffix[1:].lower() in _DATA


def text_of(name: str, content: bytes) -> str | Skipped:
    """The text in some bytes, whose origin `name` is; by the rules of `read_text`."""
    text = _decoded(content)
    if text is None:
        return Skipped(name, "binary" if b"\0" in content else "not UTF-8")
    if not text.strip():
        return Skipped(name, "empty")
    return Skipped(name, "a picture") if _SVG.match(text[:_LOOKED_AT_CHARACTERS]) else text


def _decoded(content: bytes) -> str | None:
    is_utf_16 = content.startswith(_UTF_16)
    try:
        text = content.decode("utf-16" if is_utf_16 else "utf-8-sig")
    except UnicodeDecodeError:
        return None
    return None if "\0" in text else text
