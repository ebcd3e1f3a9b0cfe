"""The files of a folder that git would not ignore."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from trivet.files import read_regular
from trivet.index.gitignore import Pattern, parsed, verdict

_PASSED_OVER = frozenset({".git", ".hg", ".svn", ".jj", ".trivet"})
"""What version control keeps, and an index."""
_LARGEST_RULES_BYTES = 1024**2
_LONGEST_PLACE_BYTES = 8192
"""Of the line by which a `.git` file names a folder."""
IGNORED = "ignored by git's rules"


@dataclass(frozen=True, slots=True)
class Skipped:
    """A file or folder that is omitted, and why."""

    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class _Rules:
    """A file of patterns, and the files that count less than it does."""

    folder: bytes
    """What the patterns are relative to; ends with a slash."""
    patterns: list[Pattern]
    above: "_Rules | None"

    def ignore(self, path: bytes, is_folder: bool) -> bool:
        """What the closest file says that says anything."""
        rules: _Rules | None = self
        while rules is not None:
            found = verdict(rules.patterns, path[len(rules.folder) :], is_folder)
            if found is not None:
                return found
            rules = rules.above
        return False


def walk(folder: Path, *, global_excludes: Path | None = None) -> Iterator[Path | Skipped]:
    """Every file below a folder, in the order of their paths, and what is omitted.

    What counts, as in git: the `.gitignore` files of the folder, of those below it, and of those above it up to the
    root of its repository; the repository's `info/exclude`; and `global_excludes`. A repository within the folder has
    its own rules. Links are not followed, so that nothing comes twice and nothing from outside. The list of tracked
    files is not read: a tracked file that a pattern matches is omitted here.

    Args:
        folder: where to begin; the paths begin like it.
        global_excludes: git's `core.excludesFile`, if it is to count within repositories.
    """
    start = os.fsencode(folder.resolve())
    prefix = len(_with_slash(start))
    open_folders: list[_Folder] = []  # not recursive: folders may be nested deeper than Python's stack
    found = _opened(start, folder, _rules_above(folder.resolve(), global_excludes), global_excludes)
    if isinstance(found, Skipped):
        yield found
    else:
        open_folders.append(found)
    while open_folders:
        current = open_folders[-1]
        entry = next(current.entries, None)
        if entry is None:
            open_folders.pop()
            continue
        path = folder / os.fsdecode(entry.path[prefix:])
        reason = _reason_to_skip(entry, current.rules)
        if os.fsdecode(entry.name) in _PASSED_OVER:
            continue
        if reason is not None:
            yield Skipped(str(path), reason)
        elif entry.is_dir(follow_symlinks=False):
            found = _opened(entry.path, path, current.rules, global_excludes)
            if isinstance(found, Skipped):
                yield found
            else:
                open_folders.append(found)
        else:
            yield path


@dataclass(frozen=True, slots=True)
class _Folder:
    """A folder that is being walked."""

    entries: "Iterator[os.DirEntry[bytes]]"
    rules: _Rules | None


def _opened(real: bytes, shown: Path, above: _Rules | None, global_excludes: Path | None) -> _Folder | Skipped:
    try:
        with os.scandir(real) as entries:
            ordered = sorted(entries, key=lambda entry: entry.name)
    except OSError as error:  # not permitted, removed meanwhile, or a path longer than the system takes
        return Skipped(str(shown), error.strerror or str(error))
    return _Folder(iter(ordered), _rules_in(real, above, global_excludes))


def _reason_to_skip(entry: "os.DirEntry[bytes]", rules: _Rules | None) -> str | None:
    is_folder = entry.is_dir(follow_symlinks=False)
    if entry.is_symlink():
        return "a link"
    if not is_folder and not entry.is_file(follow_symlinks=False):
        return "not a regular file"
    return IGNORED if rules is not None and rules.ignore(entry.path, is_folder) else None


def _rules_above(folder: Path, global_excludes: Path | None) -> _Rules | None:
    """The rules of the folders from the repository's root to the one that holds this folder; none outside of one."""
    folders = [folder, *folder.parents]
    root = next((place for place, above in enumerate(folders) if (above / ".git").exists()), 0)
    rules: _Rules | None = None
    for above in reversed(folders[1 : root + 1]):
        rules = _rules_in(os.fsencode(above), rules, global_excludes)
    return rules


def _rules_in(folder: bytes, above: _Rules | None, global_excludes: Path | None) -> _Rules | None:
    base = _with_slash(folder)
    if os.path.lexists(base + b".git"):
        files = [global_excludes, _info_exclude(Path(os.fsdecode(base)))]
        above = None
        for file in files:
            above = _with_rules(base, above, file)
    return _with_rules(base, above, Path(os.fsdecode(base + b".gitignore")), follow_links=False)  # as git since 2.32


def _with_rules(base: bytes, above: _Rules | None, file: Path | None, *, follow_links: bool = True) -> _Rules | None:
    patterns = [] if file is None else parsed(_content(file, follow_links))
    return _Rules(base, patterns, above) if patterns else above


def _content(file: Path, follow_links: bool) -> bytes:
    """What a file of patterns says; nothing where it cannot be read, as in git."""
    try:
        return read_regular(file, _LARGEST_RULES_BYTES, follow_links=follow_links)[:_LARGEST_RULES_BYTES]
    except (OSError, ValueError):
        return b""


def _info_exclude(root: Path) -> Path:
    """The repository's own list, also where `.git` is a file, as in a submodule or a linked worktree."""
    git = root / ".git"
    if git.is_file():
        git = root / os.fsdecode(_content(git, True)[:_LONGEST_PLACE_BYTES].removeprefix(b"gitdir:").strip())
        if common := _content(git / "commondir", True)[:_LONGEST_PLACE_BYTES].strip():
            git = git / os.fsdecode(common)
    return git / "info" / "exclude"


def _with_slash(path: bytes) -> bytes:
    return path if path.endswith(b"/") else path + b"/"
