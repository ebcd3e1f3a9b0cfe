"""Memory that the processes of one service on one machine share: a block for each of them, which all can read.

A block is a memory-mapped file. Only the process that holds its lock writes to it, so counting takes no further lock.
The kernel releases the lock of a process that ends, however it ends; its block stays, and the next process that starts
takes it over and goes on counting. Blocks are numbered from 0 without a gap.
"""

import fcntl
import logging
import mmap
import os
import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

logger = logging.getLogger(__name__)

MAX_PROCESSES = 256
"""Processes that may serve as one on a machine. While an application is replaced there are twice as many as usual."""


@dataclass(frozen=True, slots=True)
class Block:
    """One process's block, as 64-bit integers."""

    number: int
    words: "memoryview[int]"
    alive: bool
    """Whether a process holds it."""


class _File:
    """An open block file, closed with the object."""

    def __init__(self, descriptor: int, size_bytes: int) -> None:
        self.descriptor = descriptor
        self._close = weakref.finalize(self, os.close, descriptor)
        self.words = memoryview(mmap.mmap(descriptor, size_bytes)).cast("q")

    def lock(self) -> bool:
        """Take the lock for this process, until it ends; False if another one has it."""
        return _flock(self.descriptor, fcntl.LOCK_EX)

    @property
    def is_held(self) -> bool:
        """Whether a process has the lock."""
        if not _flock(self.descriptor, fcntl.LOCK_SH):
            return True
        fcntl.flock(self.descriptor, fcntl.LOCK_UN)
        return False

    def close(self) -> None:
        """Release the lock. The mapping stays usable."""
        if self._close.alive:
            fcntl.flock(self.descriptor, fcntl.LOCK_UN)  # the mapping keeps the file open
            self._close()


class SharedBlocks:
    """The block of this process and those of the others."""

    def __init__(self, folder: Path | None, size_bytes: int) -> None:
        """Take the first block that no process holds.

        Args:
            folder: private to this user, on a local disk; created if missing. None: this process is alone.
            size_bytes: of a block; a multiple of 8. It is part of the files' names, so that a version of Trivet with
                another layout uses other files.

        Raises:
            OSError: a file cannot be written, or `MAX_PROCESSES` processes hold a block.
        """
        self.folder = folder
        self._size_bytes = size_bytes
        self._others: dict[int, _File] = {}
        self._own: _File | None = None
        self._used: set[str] = set()
        self.number = 0
        if folder is None:
            self.words = memoryview(mmap.mmap(-1, size_bytes)).cast("q")
            return
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.number, self._own = self._claim()
        self.words = self._own.words

    def _claim(self) -> tuple[int, _File]:
        for number in range(MAX_PROCESSES):
            file = self._open(number, os.O_CREAT)
            assert file is not None
            if file.lock():
                return number, file
            file.close()
        raise OSError(f"{MAX_PROCESSES} processes serve from {self.folder} already, the most that may share it")

    def _open(self, number: int, flags: int = 0) -> _File | None:
        """Open a block; None if there is none."""
        assert self.folder is not None
        path = self.folder / f"counts-{self._size_bytes}-{number:03}"
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | flags, 0o600)
        except FileNotFoundError:
            return None
        # A new file is empty; each process that opens it makes sure of its size. Its disk space is taken now, since a
        # write to a mapped page that finds the disk full ends the process.
        os.posix_fallocate(descriptor, 0, self._size_bytes)
        return _File(descriptor, self._size_bytes)

    def all(self) -> Iterator[Block]:
        """Yield the block of every process that serves or has served, this one's included."""
        if self._own is None:
            yield Block(0, self.words, alive=True)
            return
        for number in range(MAX_PROCESSES):
            if number == self.number:
                yield Block(number, self.words, alive=True)
                continue
            file = self._others.get(number) or self._open(number)
            if file is None:
                return
            self._others[number] = file
            yield Block(number, file.words, file.is_held)

    def is_alive(self, number: int) -> bool:
        """Return whether a process holds the block of that number."""
        if self._own is None or number == self.number:
            return number == self.number
        file = self._others.get(number) or self._open(number)
        if file is None:
            return False
        self._others[number] = file
        return file.is_held

    def first_use(self, name: str) -> bool:
        """Return whether this is the first call with that name: what is there is then an earlier process's."""
        new = name not in self._used
        self._used.add(name)
        return new

    def close(self) -> None:
        """Give the block up, as a process does that ends."""
        if self._own is not None:
            self._own.close()


def open_blocks(folder: Path | None, size_bytes: int) -> SharedBlocks:
    """Open the blocks in a folder. If that fails, this process serves alone, and the log says why."""
    try:
        return SharedBlocks(folder, size_bytes)
    except OSError as error:
        logger.error("counts and the limits of keys are those of this process alone: %s", error)
        return SharedBlocks(None, size_bytes)


def _flock(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
