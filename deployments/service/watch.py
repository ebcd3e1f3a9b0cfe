"""Notices that a cluster has lost its GCS or its raylet. It then answers for a while or hangs, and never recovers.

Ray 2.60 neither ends the other processes nor starts the lost one again. So the whole service ends, and its supervisor
(systemd, compose) starts a new one.
"""

from collections.abc import Iterable

import psutil

ESSENTIAL = {"gcs_server": "Ray's GCS, which keeps the cluster's state", "raylet": "Ray's raylet, which runs the node"}
"""Programs without which a cluster cannot go on."""


class ClusterWatch:
    """Remembers the essential processes of a service once they run. Not thread-safe."""

    def __init__(self) -> None:
        self._watched: dict[str, psutil.Process] = {}

    def look(self, members: Iterable[psutil.Process]) -> None:
        """Note the essential processes among those of the service, as they appear."""
        for process in members:
            try:
                name = process.name()
            except psutil.NoSuchProcess:
                continue
            if name in ESSENTIAL and name not in self._watched:
                self._watched[name] = process

    @property
    def is_complete(self) -> bool:
        """Whether every essential process has been seen."""
        return self._watched.keys() == ESSENTIAL.keys()

    def lost(self) -> str | None:
        """Return the name of an essential process that has ended; None while all that were seen run."""
        for name, process in self._watched.items():
            try:
                ended = not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
            except psutil.NoSuchProcess:  # it ended between the two questions
                ended = True
            if ended:
                return ESSENTIAL[name]
        return None
