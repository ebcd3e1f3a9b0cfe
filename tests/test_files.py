"""What others have put in place of a file neither blocks a reader nor leads a writer away."""

import os
import socket
from pathlib import Path

import pytest

from trivet.files import open_own, read_regular


def test_no_more_is_read_than_asked_for_and_one_byte_says_that_there_is_more(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"abcdef")
    assert read_regular(file, 3) == b"abcd"
    assert read_regular(file, 6) == b"abcdef"


@pytest.mark.timeout(10)
def test_what_is_no_file_is_refused_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    monkeypatch.chdir(tmp_path)  # a socket's path must be short
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("socket")
        for path in (*map(Path, ("pipe", "folder", "socket")), Path("/dev/zero")):
            with pytest.raises(OSError, match="not a regular file"):
                read_regular(path, 10)


def test_a_link_is_followed_only_where_it_may_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"a")
    (tmp_path / "link").symlink_to("file")
    assert read_regular(tmp_path / "link", 1) == b"a"
    with pytest.raises(OSError, match="symbolic links"):
        read_regular(tmp_path / "link", 1, follow_links=False)


def test_nothing_is_written_through_a_link(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("kept")
    link = tmp_path / "graph.html.partial"
    link.symlink_to(precious)
    with pytest.raises(OSError, match="remove it"):
        open_own(link)
    assert precious.read_text() == "kept"
    link.unlink()
    os.mkfifo(link)
    with pytest.raises(OSError, match="No such device"):
        open_own(link)
    link.unlink()
    with open_own(link) as file:
        file.write(b"new")
    assert link.read_text() == "new"
