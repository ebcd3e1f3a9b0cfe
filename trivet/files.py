"""Opens files that others may have put in place: a pipe blocks no reader, and a link leads no writer away.

Imports nothing of the library.
"""

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO

_TO_WRITE = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def read_regular(path: Path, most_bytes: int, *, follow_links: bool = True) -> bytes:
    """Return the first `most_bytes + 1` bytes of a regular file: one byte too many says that it is larger.

    Nothing waits for a pipe, a device or a file of the kernel that has no content yet.

    Raises:
        OSError: it cannot be opened or read, or is not a regular file.
        ValueError: the path contains a zero byte.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | (0 if follow_links else os.O_NOFOLLOW))
    except OSError as error:
        if error.errno == errno.ENXIO:  # a socket
            raise _not_a_file(path) from error
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise _not_a_file(path)
    with os.fdopen(descriptor, "rb") as file:
        return file.read(most_bytes + 1) or b""  # None: a file of the kernel that has nothing yet


def _not_a_file(path: Path) -> OSError:
    return OSError(errno.EINVAL, "not a regular file", str(path))


def open_own(path: Path) -> BinaryIO:
    """Open a file to write, whose name the user has not given: emptied if it exists, refused if it is a link.

    Such names, as `NAME.partial`, are predictable. In a folder that somebody else has made, a link of that name would
    lead to any of the user's files.

    Raises:
        OSError: it cannot be written, is a link, or is a pipe without a reader.
    """
    try:
        descriptor = os.open(path, _TO_WRITE, 0o666)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise OSError(error.errno, "a link, to which nothing is written; remove it", str(path)) from error
        raise
    return os.fdopen(descriptor, "wb")
