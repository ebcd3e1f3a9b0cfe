"""The folder through which the ingress replicas of one application on one machine share their state."""

import logging
import os
import stat
from pathlib import Path
from urllib.parse import quote

import ray
from ray import serve

logger = logging.getLogger("ray.serve")


def shared_folder() -> Path | None:
    """Return the folder of this replica's application, below that of Ray's session, which `trivet serve` removes.

    It stays the same when the application is deployed again, so that a new replica goes on where the last one stopped.
    None, with a line in the log, if it cannot be used: the replica then serves by itself.
    """
    context = ray.get_runtime_context()
    session = Path(context.get_temp_dir()) / context.get_session_name()
    try:
        return private_folder(session / f"trivet-{quote(serve.get_replica_context().app_name, safe='')}")
    except OSError as error:
        logger.error("this ingress shares no cache, counts and limits with others: %s", error)
        return None


def private_folder(folder: Path) -> Path:
    """Make a folder that only its owner can enter, unless it is there already.

    Raises:
        PermissionError: a link, or a folder that another user owns or can enter, is in its place.
        OSError: it cannot be made.
    """
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
        raise PermissionError(f"{folder} must be a folder that belongs to this user alone; remove it and start again")
    return folder
