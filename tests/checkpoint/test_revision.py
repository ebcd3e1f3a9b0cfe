"""The revision that keys the cache says what is in the files, not where they are or when they were written."""

import os
import shutil
from pathlib import Path

import pytest

from trivet.checkpoint.source import locate_model


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    (folder / "1_Pooling").mkdir(parents=True)
    (folder / "config.json").write_text('{"model_type": "bert"}')
    (folder / "1_Pooling" / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"weights")
    return folder


def _revision(folder: Path) -> str:
    return locate_model(str(folder), "embedder", folder.parent / "cache").revision


def test_a_folder_built_again_keeps_its_revision(checkpoint: Path) -> None:
    before = _revision(checkpoint)
    copy = checkpoint.parent / "copy"
    shutil.copytree(checkpoint, copy)
    os.utime(copy / "model.safetensors", (1, 1))
    assert _revision(copy) == before
    shutil.rmtree(checkpoint)
    shutil.copytree(copy, checkpoint)
    assert _revision(checkpoint) == before


@pytest.mark.parametrize("name", ["config.json", "1_Pooling/config.json", "model.safetensors"])
def test_one_byte_makes_another_revision(checkpoint: Path, name: str) -> None:
    before = _revision(checkpoint)
    file = checkpoint / name
    content = bytearray(file.read_bytes())
    content[0] ^= 1
    file.write_bytes(content)
    assert _revision(checkpoint) != before


def test_a_file_that_is_not_read_does_not_matter(checkpoint: Path) -> None:
    before = _revision(checkpoint)
    (checkpoint / "README.md").write_text("changed")
    assert _revision(checkpoint) == before


def test_a_file_under_another_name_matters(checkpoint: Path) -> None:
    before = _revision(checkpoint)
    (checkpoint / "config.json").rename(checkpoint / "other.json")
    assert _revision(checkpoint) != before
