"""Prepares the configured models before the service starts, in a program of its own that shows its progress.

Replicas would prepare them too, but out of sight: a missing model or library would only be found in their logs, while
the service starts indefinitely. A configuration that was prepared once is not prepared again until it or Trivet
changes.
"""

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import trivet
from trivet.cli.config_file import ServeFile

_STAMPS = "prepared"
"""Folder below the cache folder: one empty file per configuration that has been prepared."""


def prepare_models(file: ServeFile, cache: Path, started: Callable[["subprocess.Popen[bytes]"], None]) -> int:
    """Run `trivet prepare` unless it has succeeded for this configuration; return its exit code.

    `started` is told the program, so that a signal can end it.
    """
    stamp = cache / _STAMPS / stamp_of(file)
    if stamp.exists():
        return 0
    with TemporaryDirectory(prefix="trivet-") as folder:
        config = Path(folder) / "serve_config.yaml"
        config.write_text(file.text(), encoding="utf-8")
        # -P: modules of the current folder are not taken for the installed ones.
        command = [sys.executable, "-P", "-m", "trivet", "prepare", str(config)]
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)
        started(child)
        code = child.wait()
    if code == 0:
        stamp.parent.mkdir(parents=True, exist_ok=True)
        stamp.touch()
    return code


def stamp_of(file: ServeFile) -> str:
    """Return a name that changes with Trivet's version, its place, and the configuration of the application."""
    arguments = file.content["applications"][0].get("args")
    parts = [trivet.__version__, sys.version, str(Path(trivet.__file__).parent), json.dumps(arguments, sort_keys=True)]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]
