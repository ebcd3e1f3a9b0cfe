"""Releases the memory of a mapped weights file once its weights have been packed.

OpenVINO maps ``openvino_model.bin`` and packs each matrix into its own layout during the first forward. From then on
the mapped pages are read only where a table is looked up (embeddings), yet they stay resident: a second copy of the
model. Dropping them costs nothing: a page needed again comes back from the file.
"""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path

_MADV_DONTNEED = 4  # Linux; for a file mapping: forget the pages, keep the mapping
_MAPS = Path("/proc/self/maps")


def drop_resident_pages(file: Path) -> int:
    """Drop this process's resident pages of every read-only mapping of ``file``. Call it after the first forward.

    The contents stay the same, since pages are read from the file again when they are needed. On systems other than
    Linux nothing happens.

    Returns:
        Bytes of address space that the mappings cover.

    Raises:
        OSError: the kernel refused.
    """
    if sys.platform != "linux":
        return 0
    libc = ctypes.CDLL(None, use_errno=True)
    libc.madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    covered_bytes = 0
    for start, end in _read_only_mappings(file.resolve()):
        if libc.madvise(start, end - start, _MADV_DONTNEED) != 0:
            errno = ctypes.get_errno()
            raise OSError(errno, f"madvise: {os.strerror(errno)}", str(file))
        covered_bytes += end - start
    return covered_bytes


def _read_only_mappings(file: Path) -> list[tuple[int, int]]:
    """Address ranges. Writable mappings are omitted, because dropping a private one would lose its changes."""
    found = []
    for line in _MAPS.read_text().splitlines():
        addresses, permissions, _offset, _device, _inode, *name = line.split(maxsplit=5)
        if name == [str(file)] and "w" not in permissions:
            start, end = addresses.split("-")
            found.append((int(start, 16), int(end, 16)))
    return found
