"""Stops a service by the record that it wrote about itself, as Ctrl-C at its terminal would."""

from pathlib import Path

import psutil

from deployments.service.leftovers import clear
from deployments.service.record import RecordFile
from trivet.errors import Unavailable

STOP_LIMIT_S = 120.0
"""Open requests are finished first, then Serve takes its cluster down; both have limits of their own."""


def stop_service(cache_dir: Path, port: int, limit_s: float = STOP_LIMIT_S) -> str:
    """Stop the service on a port of this machine, or clear what a dead one has left; returns what was done, in words.

    A service that has been asked to stop already is only waited for: asked again, it would give up its open requests.

    Raises:
        Unavailable: it has not ended within `limit_s`.
    """
    file = RecordFile(cache_dir, port)
    record = file.read()
    if record is None:
        return f"no service of this user runs on port {port}"
    owner = record.owner.find()
    if owner is None:
        return f"cleared {clear(file, record)} processes of a service on port {port} that had died"
    if not record.is_stopping:
        owner.terminate()
    try:
        owner.wait(limit_s)
    except psutil.TimeoutExpired:
        raise Unavailable(
            f"process {owner.pid} has not ended within {limit_s:g} s; it may still be finishing requests. "
            f"To end it at once: kill -9 {owner.pid} && trivet doctor --clean"
        ) from None
    return f"stopped the service on port {port}"
