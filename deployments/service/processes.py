"""Finds and ends the processes of one service: by the folder that only they use, never by a program's name."""

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import psutil

GRACE_S = 5.0


def processes_in(folder: Path) -> list[psutil.Process]:
    """Find this user's processes that name the folder in their command line or have a file of it open.

    A Ray worker replaces its command line by a title and its environment with it, but keeps its log open.
    """
    mine, me = os.getuid(), os.getpid()
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.NoSuchProcess, psutil.AccessDenied, FileNotFoundError):
            if process.pid != me and process.uids().real == mine and _uses(process, folder):
                found.append(process)
    return found


def _uses(process: psutil.Process, folder: Path) -> bool:
    prefix = f"{folder}/"
    if any(prefix in part for part in process.cmdline()):
        return True
    descriptors = Path(f"/proc/{process.pid}/fd")
    for descriptor in descriptors.iterdir():
        with suppress(OSError):  # closed meanwhile
            if str(descriptor.readlink()).startswith(prefix):
                return True
    return False


def end(processes: Iterable[psutil.Process], grace_s: float = GRACE_S) -> None:
    """Ask processes to end, and kill those that still run after `grace_s`."""
    asked = list(processes)
    for process in asked:
        with suppress(psutil.NoSuchProcess):
            process.terminate()
    _, left = psutil.wait_procs(asked, timeout=grace_s)
    for process in left:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(left, timeout=grace_s)
