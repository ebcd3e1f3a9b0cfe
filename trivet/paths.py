"""Where Trivet keeps files on this machine."""

import os
from pathlib import Path


def cache_dir(configured: str | None) -> Path:
    """The folder for what can be made again: the configured one, `$TRIVET_CACHE`, or `~/.cache/trivet`."""
    return Path(configured or os.environ.get("TRIVET_CACHE") or Path.home() / ".cache" / "trivet").expanduser()
