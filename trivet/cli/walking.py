"""Lists the files of a folder that git would not ignore."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pathspec import GitIgnoreSpec

_VERSION_CONTROL = frozenset({".git", ".hg", ".svn"})
IGNORED = "ignored by .gitignore"


@dataclass(frozen=True, slots=True)
class Skipped:
    """A file or folder that is not read, and the reason."""

    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class _Rules:
    """The rules of one folder's `.gitignore`."""

    folder: Path
    spec: GitIgnoreSpec


def walk(folder: Path) -> Iterator[Path | Skipped]:
    """Yield every file below `folder` in the order of their paths, and everything that is skipped.

    The `.gitignore` files of the folder, its subfolders and its parents up to the repository's root apply. Links are
    not followed, so no file is yielded twice, and none from outside the folder.
    """
    yield from _walk(folder, _rules_above(folder.resolve()), folder.resolve())


def _walk(shown: Path, rules: list[_Rules], real: Path) -> Iterator[Path | Skipped]:
    rules = rules + _rules_in(real)
    with os.scandir(real) as entries:
        ordered = sorted(entries, key=lambda entry: entry.name)
    for entry in ordered:
        path = shown / entry.name
        if entry.is_symlink():
            yield Skipped(str(path), "a link")
        elif entry.name in _VERSION_CONTROL:
            continue
        elif _is_ignored(real / entry.name, entry.is_dir(), rules):
            yield Skipped(str(path), IGNORED)
        elif entry.is_dir():
            yield from _walk(path, rules, real / entry.name)
        elif entry.is_file():
            yield path
        else:
            yield Skipped(str(path), "not a regular file")


def _is_ignored(path: Path, is_folder: bool, rules: list[_Rules]) -> bool:
    for rule in reversed(rules):  # the closest .gitignore with a matching rule decides
        relative = path.relative_to(rule.folder).as_posix() + ("/" if is_folder else "")
        include = rule.spec.check_file(relative).include
        if include is not None:
            return include
    return False


def _rules_above(folder: Path) -> list[_Rules]:
    """Collect the rules from the repository's root down to the parent of `folder`; none outside a repository."""
    above = [folder, *folder.parents]
    root = next((index for index, candidate in enumerate(above) if (candidate / ".git").exists()), 0)
    return [rules for candidate in reversed(above[1 : root + 1]) for rules in _rules_in(candidate)]


def _rules_in(folder: Path) -> list[_Rules]:
    file = folder / ".gitignore"
    if not file.is_file():
        return []
    lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    return [_Rules(folder, GitIgnoreSpec.from_lines(lines))]
