"""The private folder of one run: Ray's sessions, HAProxy's files, the simulated GPU's ledger.

Ray's and HAProxy's defaults are predictable names in a shared folder, where another user may put a link or a folder
first, and replace the file that names the current cluster. This folder has an unpredictable name and mode 0700.
"""

import os
import shutil
import tempfile
from pathlib import Path

PREFIX = "trivet-"
DASHBOARD_FILE = "dashboard"
"""In a run's folder: the address of Ray's dashboard, once it is known."""
OUTPUT_FILE = "serve.log"
"""In a run's folder: what `serve run` writes, of which `trivet serve` shows only what concerns its user."""
_LONGEST_PATH = 30
"""HAProxy takes paths of sockets of up to 97 characters, of which Ray adds 57 for the id of the node; Ray's own sockets
add 69 to the folder, of the kernel's 107."""


def make_run_folder() -> Path:
    """Make the folder below `$TMPDIR`, or below /tmp where that path is too long for the sockets in it.

    Raises:
        OSError: the folder cannot be made.
    """
    parent = Path(tempfile.gettempdir())
    if len(str(parent)) + len(PREFIX) + 9 > _LONGEST_PATH:
        parent = Path("/tmp")
    return Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))


def folder_variables(folder: Path) -> dict[str, str]:
    """Return the variables that make Ray and HAProxy keep everything in the folder."""
    haproxy = folder / "h"
    haproxy.mkdir(mode=0o700, exist_ok=True)
    return {
        "RAY_TMPDIR": str(folder),
        "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": str(haproxy / "haproxy.cfg"),
        "RAY_SERVE_HAPROXY_SOCKET_PATH": str(haproxy / "a.sock"),
        "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": str(haproxy),
        "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": str(haproxy / "server-state"),
        "RAY_SERVE_HAPROXY_METRICS_SOCKET_PATH": str(haproxy / "m.sock"),
    }


def logs_of(folder: Path) -> Path:
    """Return the folder of Ray's and Serve's logs in a run's folder."""
    return folder / "ray" / "session_latest" / "logs"


def keep_logs(folder: Path, destination: Path) -> Path | None:
    """Copy a run's logs to `destination`, in place of those of an earlier run; return None if there are none.

    For a run that ended by itself: its folder is removed, and the logs explain why it ended.
    """
    logs = logs_of(folder).resolve()
    output = folder / OUTPUT_FILE
    if not logs.is_dir() and not output.is_file():
        return None
    shutil.rmtree(destination, ignore_errors=True)
    if logs.is_dir():
        shutil.copytree(logs, destination, symlinks=True, ignore=_not_files)
    if output.is_file():
        destination.mkdir(parents=True, exist_ok=True)
        shutil.copy(output, destination)
    return destination


def dashboard_of(folder: Path) -> str | None:
    """Return the address of a run's dashboard; None if it has none, or not yet."""
    file = folder / DASHBOARD_FILE
    return file.read_text(encoding="utf-8").strip() if file.is_file() else None


def last_lines(folder: Path, number: int) -> list[str]:
    """Return the last lines that `serve run` has written."""
    file = folder / OUTPUT_FILE
    return file.read_text(encoding="utf-8", errors="replace").splitlines()[-number:] if file.is_file() else []


def _not_files(folder: str, names: list[str]) -> list[str]:
    """Select sockets and pipes, which cannot be copied."""
    paths = {name: Path(folder, name) for name in names}
    return [name for name, path in paths.items() if not (path.is_file() or path.is_dir())]


def run_folder() -> Path:
    """Return the folder of the run that this process belongs to; the system's temporary folder outside of a run."""
    return Path(os.environ.get("RAY_TMPDIR") or tempfile.gettempdir())
