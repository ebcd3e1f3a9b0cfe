"""Finds models of the hub that are on this machine already. Fetches nothing."""

from pathlib import Path


def fetched(repo_id: str) -> Path | None:
    """Return the folder of a hub's model that has been fetched to this machine before; None if it has not."""
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError
    except ModuleNotFoundError:
        return None  # the base distribution has no client of the hub, so nothing was fetched with it

    try:
        return Path(snapshot_download(repo_id, local_files_only=True))
    except (HFValidationError, LocalEntryNotFoundError, OSError):
        return None
