"""What a service writes down about itself, so that the next start finds what a killed one left: one JSON file each."""

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Self

import psutil

FOLDER = "services"
"""Below the cache folder."""

_CLOCK_TOLERANCE_S = 1.0
_MOST_PROCESSES = 1 << 31
"""Beyond what the kernel counts with."""


@dataclass(frozen=True, slots=True)
class ProcessId:
    """A process. The time of its creation tells it from a later one with the same number."""

    pid: int
    created_s: float

    @classmethod
    def of(cls, process: psutil.Process) -> Self:
        """Describe a process. Raises `psutil.NoSuchProcess` if it has ended."""
        return cls(process.pid, process.create_time())

    def find(self) -> psutil.Process | None:
        """Find the process again; return None if it has ended."""
        with suppress(psutil.NoSuchProcess):
            process = psutil.Process(self.pid)
            same = abs(process.create_time() - self.created_s) < _CLOCK_TOLERANCE_S
            if same and process.status() != psutil.STATUS_ZOMBIE:
                return process
        return None


@dataclass(frozen=True, slots=True)
class ServiceRecord:
    """One service: who runs it, where it listens, and what belongs to it."""

    url: str
    owner: ProcessId
    """`trivet serve`."""
    folder: str
    """See `deployments.service.folder`."""
    ports: tuple[int, ...]
    members: tuple[ProcessId, ...] = ()
    """Its processes when the record was last written."""
    is_stopping: bool = False
    """Whether it has been asked to stop. A further signal would make it give up its open requests."""

    @property
    def is_running(self) -> bool:
        """Whether `trivet serve` itself still runs."""
        return self.owner.find() is not None

    def with_members(self, processes: Iterable[psutil.Process]) -> Self:
        """Return the record with these processes; those that have just ended are omitted."""
        members = []
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                members.append(ProcessId.of(process))
        return replace(self, members=tuple(members))


class RecordFile:
    """The file of one service. Readable by its owner alone."""

    def __init__(self, cache_dir: Path, port: int) -> None:
        self.path = cache_dir / FOLDER / f"{port}.json"

    def write(self, record: ServiceRecord) -> None:
        """Replace the file as a whole. Raises `OSError` if the folder cannot be written."""
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        partial = self.path.with_suffix(f".{os.getpid()}.partial")
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as opened:
                json.dump(asdict(record), opened)
            partial.replace(self.path)
        except OSError:
            partial.unlink(missing_ok=True)
            raise
        if not self.link.is_symlink() or self.link.readlink() != Path(record.folder):
            self.link.unlink(missing_ok=True)
            self.link.symlink_to(record.folder)

    def read(self) -> ServiceRecord | None:
        """Read the record; return None if there is none, or none that this version can read."""
        return _read(self.path)

    def remove(self) -> None:
        """Remove the file, and the link to the folder."""
        self.path.unlink(missing_ok=True)
        self.link.unlink(missing_ok=True)

    @property
    def link(self) -> Path:
        """A link to the folder of the run, at a place that people and Prometheus know beforehand."""
        return self.path.with_suffix(".run")

    @property
    def logs(self) -> Path:
        """Where the logs of a run are kept that ended by itself."""
        return self.path.with_suffix(".logs")


def all_records(cache_dir: Path) -> Iterator[tuple[RecordFile, ServiceRecord]]:
    """Return every readable record of services that use this cache folder."""
    folder = cache_dir / FOLDER
    for path in sorted(folder.glob("*.json")) if folder.is_dir() else ():
        record = _read(path)
        if record is not None and path.stem.isdigit():
            yield RecordFile(cache_dir, int(path.stem)), record


def _read(path: Path) -> ServiceRecord | None:
    try:
        written = json.loads(path.read_text(encoding="utf-8"))
        return ServiceRecord(
            url=str(written["url"]),
            owner=_process(written["owner"]),
            folder=str(written["folder"]),
            ports=tuple(map(int, written["ports"])),
            members=tuple(map(_process, written["members"])),
            is_stopping=bool(written.get("is_stopping", False)),
        )
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def _process(written: Mapping[str, Any]) -> ProcessId:
    found = ProcessId(int(written["pid"]), float(written["created_s"]))
    if not 0 < found.pid < _MOST_PROCESSES:
        raise ValueError(f"{found.pid} is no process")
    return found
