"""The folder through which the ingress replicas of one application on one machine share their state."""

import os
import stat
from pathlib import Path
from urllib.parse import quote

import ray
from ray import serve


def shared_folder() -> Path:
    """Return the folder of this replica's application, below that of Ray's session, which ends with the cluster.

    It stays the same when the application is deployed again, so that a new replica goes on where the last one stopped.

    Raises:
        PermissionError: the folder is another user's.
    """
    context = ray.get_runtime_context()
    session = Path(context.get_temp_dir()) / context.get_session_name()
    return private_folder(session / f"trivet-{quote(serve.get_replica_context().app_name, safe='')}")


def private_folder(folder: Path) -> Path:
    """Make a folder that only its owner can enter, unless it is there already.

    Raises:
        PermissionError: a folder of another user, or a link, is in its place.
    """
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
        raise PermissionError(f"{folder} must be a folder that belongs to this user alone; remove it and start again")
    return folder
