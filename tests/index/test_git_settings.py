"""Where a user's own list of ignored files is."""

import subprocess
from pathlib import Path

import pytest

from trivet.folders.documents import Document, read_folder
from trivet.index import excludes_file


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty repository of a user without settings."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    monkeypatch.delenv("GIT_CONFIG_GLOBAL", raising=False)
    folder = tmp_path / "repository"
    subprocess.run(["git", "init", "-q", str(folder)], check=True)
    return folder


def _written(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_the_setting_counts_before_the_usual_place(repository: Path) -> None:
    home = repository.parent / "home"
    assert excludes_file(repository) is None
    usual = _written(home / ".config" / "git" / "ignore", "*.tmp\n")
    assert excludes_file(repository) == usual
    own = _written(home / "mine", "*.bak\n")
    _written(home / ".gitconfig", "[core]\n\texcludesFile = ~/mine\n")
    assert excludes_file(repository) == own
    other = _written(home / "other", "")
    subprocess.run(["git", "-C", str(repository), "config", "core.excludesFile", str(other)], check=True)
    assert excludes_file(repository) == other


def test_without_git_the_usual_place_counts(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usual = _written(repository.parent / "xdg" / "git" / "ignore", "*.tmp\n")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(repository.parent / "xdg"))
    monkeypatch.setenv("PATH", "")
    assert excludes_file(repository) == usual


def test_files_that_a_user_ignores_everywhere_are_not_read(repository: Path) -> None:
    _written(repository / "a.md", "Kept.")
    _written(repository / "b.tmp.md", "Ignored.")
    _written(repository.parent / "home" / ".config" / "git" / "ignore", "*.tmp.md\n")
    assert [one.path for one in read_folder(repository) if isinstance(one, Document)] == ["a.md"]
