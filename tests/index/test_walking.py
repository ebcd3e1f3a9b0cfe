"""A folder's files are those that git lists, whatever the patterns, the depth and the names."""

import os
import random
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from trivet.index import Skipped, walk
from trivet.index.walking import IGNORED

GIT = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1", "PATH": os.environ["PATH"], "HOME": os.devnull}


def git(folder: Path, *arguments: str) -> bytes:
    return subprocess.run(["git", "-C", folder, *arguments], capture_output=True, check=True, env=GIT).stdout


def listed_by_git(folder: Path, *arguments: str) -> set[str]:
    found = git(folder, *arguments, "ls-files", "--others", "--exclude-standard", "-z")
    return {os.fsdecode(name) for name in found.split(b"\0") if name}


def found(folder: Path, **arguments: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in walk(folder, **arguments) if isinstance(path, Path)}


def omitted(folder: Path) -> dict[str, str]:
    return {os.path.relpath(one.path, folder): one.reason for one in walk(folder) if isinstance(one, Skipped)}


def files(folder: Path, *names: str, **contents: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    for name, content in contents.items():
        (folder / name).write_text(content)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    git(tmp_path, "init", "-q")
    return tmp_path


NAMES = ["a", "b", "ab", ".x", "a b", "A", "foo.c", "[x]", "#h", "!n", "a\\b", "é"]
ATOMS = [
    "a", "b", "ab", "*", "?", "**", "[ab]", "[!a]", "[^a]", "[a-c]", ".x", "\\#h", "\\!n", "#h", "!n", "a b", "foo.*",
    "*.c", "\\*", "[[]x]", "a\\ ", "[]a]", "é", "a[", "x]", "[[:alpha:]]", "**a", "a**", "[a-]", "[\\]]", "a\\", "***",
]  # fmt: skip
ENDS = ["  ", "\\ ", "\t", "\r"]


def some_pattern(choose: random.Random) -> str:
    pattern = "/".join(choose.choice(ATOMS) for _ in range(choose.randint(1, 3)))
    for chance, before, after in ((0.25, "/", ""), (0.3, "", "/"), (0.3, "!", ""), (0.1, "", choose.choice(ENDS))):
        if choose.random() < chance:
            pattern = before + pattern + after
    return pattern


@pytest.mark.parametrize("seed", range(60))
def test_random_patterns_ignore_what_they_ignore_in_git(repository: Path, seed: int) -> None:
    choose = random.Random(seed)
    for _ in range(25):
        name = Path(*(choose.choice(NAMES) for _ in range(choose.randint(1, 4))))
        try:
            files(repository, str(name))
        except (NotADirectoryError, FileExistsError):
            continue  # a part of it is a file already
    folders = [path for path in repository.iterdir() if path.is_dir() and path.name != ".git"]
    for folder in [repository, *choose.sample(folders, min(2, len(folders)))]:
        (folder / ".gitignore").write_text("\n".join(some_pattern(choose) for _ in range(choose.randint(1, 4))) + "\n")
    (repository / ".git" / "info" / "exclude").write_text(some_pattern(choose) + "\n")
    excludes = repository / ".git" / "global"
    excludes.write_text(some_pattern(choose))
    expected = listed_by_git(repository, "-c", f"core.excludesFile={excludes}")
    assert found(repository, global_excludes=excludes) == expected


def test_rules_of_the_folders_above_count_up_to_the_repository_s_root(repository: Path) -> None:
    files(repository, "src/app/a.py", "src/app/a.log", "src/app/b.log", "src/app/tmp/x")
    (repository / ".gitignore").write_text("*.log\n/src/app/tmp/\n")
    (repository / "src" / ".gitignore").write_text("!b.log\n")
    assert found(repository / "src" / "app") == {"a.py", "b.log"}
    assert omitted(repository / "src" / "app") == {"a.log": IGNORED, "tmp": IGNORED}
    (repository.parent / ".gitignore").write_text("*.py\n")  # outside of the repository
    assert found(repository / "src" / "app") == {"a.py", "b.log"}


def test_a_byte_order_mark_and_windows_line_ends_are_no_part_of_a_pattern(repository: Path) -> None:
    files(repository, "a.log", "b.tmp", "c")
    (repository / ".gitignore").write_bytes(b"\xef\xbb\xbf*.log\r\n*.tmp\r\n")
    assert found(repository) == {".gitignore", "c"} == listed_by_git(repository)


def test_a_linked_worktree_has_the_excludes_of_its_repository(tmp_path: Path) -> None:
    main, linked = tmp_path / "main", tmp_path / "linked"
    main.mkdir()
    git(main, "init", "-q")
    git(main, "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-q", "--allow-empty", "-m", "first")
    git(main, "worktree", "add", "-q", str(linked))
    (main / ".git" / "info" / "exclude").write_text("*.log\n")
    files(linked, "a.log", "b")
    assert found(linked) == {"b"} == listed_by_git(linked)


def test_a_repository_within_has_its_own_rules(repository: Path) -> None:
    files(repository, "inner/a.log", "inner/b.tmp", "c.log")
    git(repository / "inner", "init", "-q")
    (repository / ".gitignore").write_text("*.log\n")
    (repository / "inner" / ".gitignore").write_text("*.tmp\n")
    assert found(repository) == {".gitignore", "inner/.gitignore", "inner/a.log"}


def test_outside_of_a_repository_the_folder_s_own_rules_count(tmp_path: Path) -> None:
    files(tmp_path, "a.log", "b/c.log", "b/d")
    (tmp_path / ".gitignore").write_text("*.log\n")
    assert found(tmp_path) == {".gitignore", "b/d"}


def test_links_are_not_followed(tmp_path: Path) -> None:
    files(tmp_path, "folder/file")
    (tmp_path / "folder" / "up").symlink_to(tmp_path)
    (tmp_path / "self").symlink_to("self")
    (tmp_path / "other").symlink_to("folder")
    os.mkfifo(tmp_path / "pipe")
    assert found(tmp_path) == {"folder/file"}
    assert omitted(tmp_path) == {
        "folder/up": "a link",
        "self": "a link",
        "other": "a link",
        "pipe": "not a regular file",
    }
    assert found(tmp_path / "other") == {"file"}, "the folder that is named may be a link"


@pytest.fixture
def deep(tmp_path: Path) -> Iterator[Path]:
    """A folder within a folder, 1,200 times, with a file in each."""
    before = os.getcwd()
    os.chdir(tmp_path)
    for _ in range(1200):
        os.mkdir("d")
        Path("file").touch()
        os.chdir("d")
    os.chdir(before)
    yield tmp_path
    subprocess.run(["rm", "-rf", tmp_path / "d"], check=True)  # Python's own way recurses


@pytest.mark.slow
def test_folders_nested_deeper_than_python_s_stack(deep: Path) -> None:
    assert len(found(deep)) == 1200


@pytest.mark.parametrize("letters", range(190, 202))
def test_a_path_longer_than_the_system_takes_is_omitted(tmp_path: Path, letters: int) -> None:
    before = os.getcwd()
    os.chdir(tmp_path)
    for _ in range(30):
        os.mkdir("n" * letters)
        os.chdir("n" * letters)
    os.chdir(before)
    (reason,) = omitted(tmp_path).values()
    assert reason == "File name too long"
    subprocess.run(["rm", "-rf", tmp_path / ("n" * letters)], check=True)


def test_rules_that_are_no_file_count_for_nothing(tmp_path: Path) -> None:
    files(tmp_path, "a/.gitignore/x", "b/x", "c/x")
    (tmp_path / "rules").write_text("x\n")
    (tmp_path / "b" / ".gitignore").symlink_to(tmp_path / "rules")
    os.mkfifo(tmp_path / "c" / ".gitignore")
    assert found(tmp_path) == {"a/.gitignore/x", "b/x", "c/x", "rules"}


def test_a_folder_that_is_not_there_is_omitted(tmp_path: Path) -> None:
    (only,) = walk(tmp_path / "nowhere")
    assert only == Skipped(str(tmp_path / "nowhere"), "No such file or directory")


def test_a_pattern_full_of_stars_takes_no_time(tmp_path: Path) -> None:
    folder = Path(*["ab" * 50] * 20)
    files(tmp_path, str(folder / ("a" * 200)))
    (tmp_path / ".gitignore").write_text("*a" * 60 + "*c\n" + "**/a*/" * 20 + "c\n" + "[a-z]*" * 80 + "0\n")
    assert found(tmp_path) == {".gitignore", str(folder / ("a" * 200))}


def test_files_come_in_the_order_of_their_paths(tmp_path: Path) -> None:
    files(tmp_path, "b/x", "a", "c/b/x", "c/a", "b/a")
    assert [str(path.relative_to(tmp_path)) for path in walk(tmp_path)] == ["a", "b/a", "b/x", "c/a", "c/b/x"]  # type: ignore[union-attr]


def test_paths_begin_as_the_folder_was_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files(tmp_path, "src/a")
    monkeypatch.chdir(tmp_path)
    assert list(walk(Path("src"))) == [Path("src/a")]
    assert list(walk(Path())) == [Path("src/a")]


@pytest.mark.parametrize(
    ("git", "common"), [(b"gitdir: a\0b", b""), (b"gitdir: kept", b"a\0b"), (b"gitdir: " + b"a" * 10_000, b"")]
)
def test_a_git_file_that_names_no_folder_counts_for_nothing(tmp_path: Path, git: bytes, common: bytes) -> None:
    (tmp_path / ".git").write_bytes(git)
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "commondir").write_bytes(common)
    assert tmp_path / "kept" / "commondir" in list(walk(tmp_path))
