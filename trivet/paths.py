"""Where Trivet stores files on this machine."""

import os
from pathlib import Path


def cache_dir(configured: str | None) -> Path:
    """Return the folder for reproducible files: `configured`, else `$TRIVET_CACHE`, else `~/.cache/trivet`."""
    return Path(configured or os.environ.get("TRIVET_CACHE") or Path.home() / ".cache" / "trivet").expanduser()
