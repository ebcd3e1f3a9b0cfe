"""What git's settings say about the files of a folder."""

import os
import shutil
import subprocess
from pathlib import Path

_TIMEOUT_S = 5


def excludes_file(folder: Path) -> Path | None:
    """The list of patterns that a user keeps for all repositories: `core.excludesFile`, or git's usual place for it.

    None: there is no such file. Without git itself, which knows where its settings are, the usual place counts.
    """
    return next((place for place in (_configured(folder), _usual()) if place is not None and place.is_file()), None)


def _configured(folder: Path) -> Path | None:
    git = shutil.which("git")
    if git is None:
        return None
    command = [git, "config", "--type=path", "--get", "core.excludesFile"]
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, check=False, timeout=_TIMEOUT_S)
    except (OSError, subprocess.TimeoutExpired):
        return None
    value = os.fsdecode(done.stdout.removesuffix(b"\n"))
    return folder / value if done.returncode == 0 and value else None


def _usual() -> Path:
    """Where git looks if the setting is missing: see `gitignore(5)`."""
    base = os.environ.get("XDG_CONFIG_HOME")
    return (Path(base) if base else Path.home() / ".config") / "git" / "ignore"
