"""Files against their published digests, as coreutils and git write them."""

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from trivet.checkpoint.digests import check_digests, published_digests, total_bytes
from trivet.errors import ModelError


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    (tmp_path / "model.safetensors").write_bytes(os.urandom(5_000_000))
    (tmp_path / "config.json").write_text("{}")
    return tmp_path


@pytest.fixture
def with_sums(checkpoint: Path) -> Path:
    listed = subprocess.run(["sha256sum", *os.listdir(checkpoint)], cwd=checkpoint, capture_output=True, check=True)
    (checkpoint / "SHA256SUMS").write_bytes(listed.stdout)
    return checkpoint


@pytest.fixture
def hub_snapshot(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As the hub's client lays it out: links to files that are named by their digests."""
    repo = tmp_path_factory.mktemp("hub") / "models--org--name"
    snapshot = repo / "snapshots" / ("c0ffee" * 7)[:40]
    snapshot.mkdir(parents=True)
    (repo / "blobs").mkdir()
    for file, program in (("model.safetensors", ["sha256sum"]), ("config.json", ["git", "hash-object"])):
        said = subprocess.run([*program, checkpoint / file], capture_output=True, text=True, check=True).stdout
        blob = repo / "blobs" / said.split()[0]
        shutil.copy(checkpoint / file, blob)
        (snapshot / file).symlink_to(Path("../../blobs") / blob.name)
    return snapshot


@pytest.mark.parametrize("layout", ["with_sums", "hub_snapshot"])
def test_whole_files_pass_and_every_byte_is_reported(layout: str, request: pytest.FixtureRequest) -> None:
    digests = published_digests(request.getfixturevalue(layout))
    read: list[int] = []
    check_digests(digests, read.append)
    assert len(digests) == 2
    assert sum(read) == total_bytes(digests) == 5_000_002


@pytest.mark.parametrize("layout", ["with_sums", "hub_snapshot"])
@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_one_changed_byte_is_found_and_the_file_named(layout: str, name: str, request: pytest.FixtureRequest) -> None:
    directory = request.getfixturevalue(layout)
    content = bytearray((directory / name).read_bytes())
    content[len(content) // 2] ^= 1
    (directory / name).write_bytes(content)
    with pytest.raises(ModelError, match=f"{name} is not as published: its digest is [0-9a-f]+, it should be"):
        check_digests(published_digests(directory))


def test_a_listed_file_that_is_missing_is_named(with_sums: Path) -> None:
    (with_sums / "config.json").unlink()
    with pytest.raises(ModelError, match=r"config\.json is missing"):
        check_digests(published_digests(with_sums))


def test_without_sums_nothing_is_claimed(checkpoint: Path) -> None:
    assert published_digests(checkpoint) == {}


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("nonsense", "line 1: not a line of sha256sum"),
        (f"{hashlib.sha256().hexdigest()}  ../x", "outside the directory"),
    ],
)
def test_a_bad_list_is_refused(checkpoint: Path, line: str, problem: str) -> None:
    (checkpoint / "SHA256SUMS").write_text(line)
    with pytest.raises(ModelError, match=problem):
        published_digests(checkpoint)
