"""The token that Ray's dashboard, job API and internal calls ask for: made before Ray makes one that others may read.

Ray 2.60 writes its token file with mode 0644. Whoever has the token can run code as the user of the service.
"""

import os
import secrets
from collections.abc import Mapping
from pathlib import Path

_PRIVATE = 0o600


def token_file(environ: Mapping[str, str], home: Path) -> Path | None:
    """Where Ray will look for the token; None where the token itself is in the environment, or no token is used."""
    if environ.get("RAY_AUTH_MODE", "token").lower() != "token" or environ.get("RAY_AUTH_TOKEN"):
        return None
    stated = environ.get("RAY_AUTH_TOKEN_PATH")
    return Path(stated) if stated else home / ".ray" / "auth_token"


def ensure_private_token(file: Path) -> None:
    """Make the file, readable by its owner alone; one that is there keeps its token and loses other readers."""
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
    """Whether anybody but its owner may read the file; False for one that is not there."""
    return file.is_file() and bool(file.stat().st_mode & 0o077)
