"""Has a text's syntax read by another process, and does without where that process dies of it."""

import atexit
import contextlib
import json
import os
import struct
import subprocess
import sys
from threading import Lock, Timer
from typing import Any

from trivet.errors import ConfigError
from trivet.passages.block import Block

_WORKER = "trivet.passages.syntax.worker"
_LENGTH = struct.Struct("!I")
_DEADLINE_S = 60.0
"""For a process that hangs. One that works is stopped by its own limits, long before."""


class SyntaxProcess:
    """A parser in another process, started at the first question and again after it died. Threads take turns.

    It holds about 20 MB. It ends when it is closed, or when the process that started it ends, however that happens.
    """

    def __init__(self, *, deadline_s: float = _DEADLINE_S) -> None:
        self._deadline_s = deadline_s
        self._lock = Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._owner = os.getpid()

    def block(self, text: str, language: str, small_characters: int) -> Block | None:
        """The text as a block, or None where the parser ran out of time or memory.

        Args:
            text: without surrogates.
            language: one of `trivet.passages.syntax.languages.GRAMMARS`.
            small_characters: blocks up to this size are not divided.

        Raises:
            ConfigError: the process does not start, for instance because tree-sitter is not installed.
        """
        request = json.dumps([language, small_characters, text]).encode()
        with self._lock:
            answer = self._ask(request)
        return None if answer is None else _block(json.loads(answer))

    def close(self) -> None:
        """End the process; the next question starts another."""
        with self._lock:
            self._end()

    def _ask(self, request: bytes) -> bytes | None:
        process, is_new = self._running()
        timer = Timer(self._deadline_s, process.kill)
        timer.daemon = True
        timer.start()
        try:
            if is_new and _received(process) is None:
                self._end()
                raise ConfigError(
                    f"the parser did not start (exit code {process.returncode}); "
                    f"`{sys.executable} -m {_WORKER}` shows why: is the package tree-sitter installed?"
                )
            answer = _answer(process, request)
        finally:
            timer.cancel()
        if answer is None:
            self._end()
        return answer

    def _running(self) -> tuple[subprocess.Popen[bytes], bool]:
        """The process, and whether it has just been started."""
        if self._process is not None and self._owner != os.getpid():
            self._process = None  # a fork: the pipes are the parent's
        if self._process is not None and self._process.poll() is not None:
            self._end()
        if self._process is not None:
            return self._process, False
        self._owner = os.getpid()
        self._process = subprocess.Popen(
            [sys.executable, "-m", _WORKER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # tree-sitter writes there that memory ran out
            env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        )
        return self._process, True

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is None or self._owner != os.getpid():
            return
        process.kill()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):  # what it did not read is of no use now
                    pipe.close()
        process.wait()


_shared = SyntaxProcess()
atexit.register(_shared.close)


def shared() -> SyntaxProcess:
    """The one of this Python process."""
    return _shared


def _answer(process: subprocess.Popen[bytes], request: bytes) -> bytes | None:
    assert process.stdin is not None
    try:
        process.stdin.write(_LENGTH.pack(len(request)) + request)
        process.stdin.flush()
    except BrokenPipeError:  # it died, and its pipe with it
        return None
    return _received(process)


def _received(process: subprocess.Popen[bytes]) -> bytes | None:
    """An answer, or None where the process ended first."""
    assert process.stdout is not None
    head = process.stdout.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        return None
    length = _LENGTH.unpack(head)[0]
    answer = process.stdout.read(length)
    return answer if len(answer) == length else None


def _block(plain: list[Any]) -> Block:
    first, stop, kind, title, parts = plain
    return Block(first, stop, kind, title, tuple(_block(part) for part in parts), is_unit=kind == "definition")
