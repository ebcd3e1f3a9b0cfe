"""Clears what a service that was killed has left: processes, ports, its folder. Goes by the service's own record."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import psutil

from deployments.service.folder import PREFIX
from deployments.service.processes import end, processes_in
from deployments.service.record import RecordFile, ServiceRecord, all_records


def dead_services(cache_dir: Path) -> Iterator[tuple[RecordFile, ServiceRecord]]:
    """Find services whose `trivet serve` has ended without removing its record."""
    return ((file, record) for file, record in all_records(cache_dir) if not record.is_running)


def clear(file: RecordFile, record: ServiceRecord) -> int:
    """End the processes of a dead service, remove its folder and its record; return how many processes it ended."""
    members = living_members(record)
    end(members)
    remove_folder(Path(record.folder))
    file.remove()
    return len(members)


def living_members(record: ServiceRecord) -> list[psutil.Process]:
    """Find the processes that the record names and those that use its folder, without `trivet serve` itself."""
    named = [process for member in record.members if (process := member.find()) is not None]
    found = {process.pid: process for process in (*named, *processes_in(Path(record.folder)))}
    found.pop(record.owner.pid, None)
    return list(found.values())


def remove_folder(folder: Path) -> None:
    """Remove a run's folder. A path that cannot be a run's, as a damaged record may hold, stays."""
    if folder.name.startswith(PREFIX) and not folder.is_symlink() and folder.is_dir():
        shutil.rmtree(folder, ignore_errors=True)
