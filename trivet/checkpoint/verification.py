"""Whether the files that are served are those that were published. Both `prepare` and `serve` ask before they load."""

from dataclasses import dataclass
from pathlib import Path

from trivet.checkpoint.digest_cache import kept_digest
from trivet.checkpoint.digests import SUMS_FILE, check_digests, published_digests, total_bytes
from trivet.checkpoint.files import readable_files
from trivet.errors import ModelError
from trivet.units import format_bytes

_NAMED = 5


@dataclass(frozen=True, slots=True)
class Verification:
    """What was compared with published digests, and what was not."""

    directory: Path
    files: int = 0
    size_bytes: int = 0
    uncovered: tuple[str, ...] = ()
    """Files that may be read, but have no published digest."""

    def __str__(self) -> str:
        if not self.files:
            return f"files not verified (no {SUMS_FILE} in {self.directory})"
        covered = f"{self.files} files, {format_bytes(self.size_bytes)}: match the published digests"
        if not self.uncovered:
            return covered
        more = f" and {len(self.uncovered) - _NAMED} more" if len(self.uncovered) > _NAMED else ""
        return f"{covered}; NOT VERIFIED, since no digest is published: {', '.join(self.uncovered[:_NAMED])}{more}"


def verify(directory: Path, digest_cache_dir: Path | None = None) -> Verification:
    """Compare a checkpoint's files with their published digests.

    Args:
        directory: of the checkpoint.
        digest_cache_dir: where digests of unchanged files are kept; None: read every file.

    Raises:
        ModelError: a file is missing or differs, or SHA256SUMS cannot be read.
    """
    digests = published_digests(directory)
    if not digests:
        return Verification(directory)
    by_git = {file: digest for file, digest in digests.items() if len(digest) == 40}
    check_digests(by_git)  # small files, of which git's digest is published
    for file, expected in digests.items():
        if file in by_git:
            continue
        if not file.is_file():
            raise ModelError(f"{file} is missing, and {SUMS_FILE} names it")
        found = kept_digest(file, digest_cache_dir)
        if found != expected:
            raise ModelError(f"{file} is not as published: its digest is {found}, it should be {expected}")
    uncovered = sorted(str(file.relative_to(directory)) for file in readable_files(directory) - digests.keys())
    return Verification(directory, len(digests), total_bytes(digests), tuple(uncovered))
