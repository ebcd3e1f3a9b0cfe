"""Creates the token that Ray's dashboard, job API and internal calls require, readable only by its owner.

Ray 2.60 would create the file with mode 0644, and every reader of the token can run code as the service's user.
"""

import os
import secrets
from collections.abc import Mapping
from pathlib import Path

_PRIVATE = 0o600


def token_file(environ: Mapping[str, str], home: Path) -> Path | None:
    """Return the file from which Ray reads the token; None if the environment holds the token, or none is used."""
    if environ.get("RAY_AUTH_MODE", "token").lower() != "token" or environ.get("RAY_AUTH_TOKEN"):
        return None
    stated = environ.get("RAY_AUTH_TOKEN_PATH")
    return Path(stated) if stated else home / ".ray" / "auth_token"


def ensure_private_token(file: Path) -> None:
    """Create the token file with mode 0600; an existing file keeps its token, but gets that mode."""
    file.parent.mkdir(parents=True, exist_ok=True)
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _PRIVATE)
    except FileExistsError:
        if readable_by_others(file):
            file.chmod(_PRIVATE)
        return
    with os.fdopen(descriptor, "w", encoding="ascii") as opened:
        opened.write(secrets.token_hex(32))


def readable_by_others(file: Path) -> bool:
    """Return whether users other than the owner may read the file; False if it does not exist."""
    return file.is_file() and bool(file.stat().st_mode & 0o077)
