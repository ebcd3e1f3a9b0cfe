"""What is read is text, and names are shown as they are without doing anything."""

import os
from pathlib import Path

import pytest

from trivet.index import FileText, Skipped, digest_of, read_text, shown
from trivet.index.names import shown_lines


def read(folder: Path, content: bytes, name: str = "file.txt", max_bytes: int = 100_000) -> str:
    """The text, or why it is none."""
    path = folder / name
    path.write_bytes(content)
    found = read_text(path, max_bytes=max_bytes)
    if isinstance(found, Skipped):
        assert found.path == str(path)
        return found.reason
    assert found == FileText(found.text, digest_of(content))
    return found.text


def test_text_is_read(tmp_path: Path) -> None:
    assert read(tmp_path, "naïve\r\ntext".encode()) == "naïve\r\ntext"
    assert read(tmp_path, b"\xef\xbb\xbftext") == "text"
    assert read(tmp_path, "text – of Windows".encode("utf-16")) == "text – of Windows"
    assert read(tmp_path, b"\xfe\xff\x00a") == "a"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"), (b" \n\t", "empty"), (b"a\0b", "binary"), (b"\x89PNG\r\n\x1a\n\0\0", "binary"),
        (b"na\xefve", "not UTF-8"),
        (b"x" * 100_001, "larger than 100000 bytes"), (b"\xff\xfea", "not UTF-8"), (b"%PDF-1.7\n\xe2\xe3", "not UTF-8"),
    ],
)  # fmt: skip
def test_what_is_no_text_is_omitted(tmp_path: Path, content: bytes, reason: str) -> None:
    assert read(tmp_path, content) == reason


@pytest.mark.parametrize(
    "content",
    [
        b'<svg xmlns="http://www.w3.org/2000/svg"><text>free VRAM</text></svg>',
        b'<?xml version="1.0"?>\n<!-- a > b -->\n<!DOCTYPE svg PUBLIC "x">\n<svg:svg/>',
    ],
)
def test_a_picture_is_omitted_also_where_it_is_text(tmp_path: Path, content: bytes) -> None:
    assert read(tmp_path, content, "stress.svg") == "a picture"
    assert read(tmp_path, content, "stress.xml") == "a picture"
    assert read(tmp_path, b"static char x[] = {1};", "icon.xpm") == "a picture"


def test_a_page_with_a_picture_in_it_is_text(tmp_path: Path) -> None:
    page = b"<!DOCTYPE html>\n<html><svg></svg></html>"
    assert read(tmp_path, page, "page.html") == page.decode()


def test_a_file_that_cannot_be_read_is_omitted(tmp_path: Path) -> None:
    assert read_text(tmp_path / "nowhere") == Skipped(str(tmp_path / "nowhere"), "No such file or directory")
    assert read_text(tmp_path) == Skipped(str(tmp_path), "not a regular file")
    os.mkfifo(tmp_path / "pipe")
    assert read_text(tmp_path / "pipe") == Skipped(str(tmp_path / "pipe"), "not a regular file")


def test_a_name_that_is_not_utf_8_is_omitted(tmp_path: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.txt"))
    path.write_text("text")
    found = read_text(path)
    assert isinstance(found, Skipped)
    assert found.reason == "its name is not UTF-8"
    assert shown(found.path) == f"{tmp_path}/caf\\xe9.txt"


def test_spelling_stays_in_lines_and_shows_in_names() -> None:
    spelled = "می\u200cخواهم क्\u200dष 👩\u200d👧 Fahr\u00adrad \u06dd"
    assert shown_lines(f"{spelled}\r\n\ta\u202eb\u200bc\x1b") == [spelled, "    a\\u202eb\\u200bc\\x1b"]
    assert shown("a\u200db\u00ad") == "a\\u200db\\xad"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("src/naïve 日本.py", "src/naïve 日本.py"), ("\x1b[31mred\n", "\\x1b[31mred\\x0a"),
        ("a\u202eyp.exe", "a\\u202eyp.exe"),
        ("\x7f\x85\u2028\u200b", "\\x7f\\x85\\u2028\\u200b"), ("tag\U000e0041", "tag\\U000e0041"), ("🙂", "🙂"),
    ],
)  # fmt: skip
def test_what_is_not_visible_in_a_name_is_written_out(name: str, expected: str) -> None:
    assert shown(name) == expected
