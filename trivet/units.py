"""Formats bytes and seconds for log lines, reasons and tables. (Pydantic's `ByteSize` parses sizes.)"""

MIB = 1024**2
GIB = 1024**3

_UNITS = (("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10))


def format_bytes(size_bytes: int) -> str:
    """Return the size in binary units, with one decimal where it is significant: "7.8 GiB", "250 MiB"."""
    sign = "-" if size_bytes < 0 else ""
    magnitude = abs(size_bytes)
    for unit, unit_bytes in _UNITS:
        if magnitude >= unit_bytes:
            value = magnitude / unit_bytes
            digits = 1 if value < 100 and unit in ("GiB", "TiB") else 0
            return f"{sign}{value:.{digits}f} {unit}".replace(".0 ", " ")
    return f"{sign}{magnitude} B"


def format_seconds(seconds: float) -> str:
    """Return a duration with at most one decimal: "0.5 s", "30 s"."""
    return f"{seconds:.1f}".removesuffix(".0") + " s"
