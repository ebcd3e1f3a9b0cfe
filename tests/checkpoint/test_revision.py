"""The revision of a model in a folder depends on what its files hold, not on when they were written."""

import os
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import ByteSize

from tests.support.dispatcher import EMBEDDER, FakeDispatcher
from trivet.cache.store import open_results
from trivet.checkpoint import digest_cache
from trivet.checkpoint.source import locate_model
from trivet.config import CacheConfig
from trivet.dispatch.caching import CachingDispatcher
from trivet.dispatch.protocol import CacheUse
from trivet.messages import EmbedRequest, ModelCard
from trivet.metrics import NO_METRICS

FILES = {
    "config.json": b"{}",
    "model.safetensors": bytes(1000),
    "1_Pooling/config.json": b"{}",
    "vocab.txt": b"a\nb\n",
}


def revision(folder: Path, cache: Path) -> str:
    return locate_model(str(folder), "embedder", cache).revision


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A checkpoint's files, written long ago."""
    folder = tmp_path / "model"
    for name, content in FILES.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        os.utime(file, (1e9, 1e9))
    return folder


def rebuild(folder: Path) -> None:
    """Write the same files again: new inodes, new times."""
    aside = folder.rename(folder.with_name("aside"))
    shutil.copytree(aside, folder, copy_function=shutil.copyfile)
    shutil.rmtree(aside)


def test_the_same_files_written_again_have_the_same_revision(folder: Path, tmp_path: Path) -> None:
    before = revision(folder, tmp_path / "cache")
    rebuild(folder)
    assert revision(folder, tmp_path / "cache") == before
    assert revision(folder, tmp_path / "another machine's cache") == before


@pytest.mark.parametrize("name", FILES)
def test_one_byte_makes_another_revision(folder: Path, tmp_path: Path, name: str) -> None:
    before = revision(folder, tmp_path)
    content = bytearray(FILES[name])
    content[-1] ^= 1
    (folder / name).write_bytes(content)
    os.utime(folder / name, (1e9, 1e9))
    assert revision(folder, tmp_path) != before


def test_a_renamed_file_makes_another_revision_and_a_note_beside_the_model_does_not(
    folder: Path, tmp_path: Path
) -> None:
    before = revision(folder, tmp_path)
    (folder / "README.md").write_text("read by nothing")
    assert revision(folder, tmp_path) == before
    (folder / "vocab.txt").rename(folder / "words.txt")
    assert revision(folder, tmp_path) != before


def test_a_second_start_hashes_nothing(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Both times of a file have to be old; the change time cannot be set, so the clock is.
    monkeypatch.setattr(digest_cache, "_SETTLED_S", -1.0)
    before = revision(folder, tmp_path / "cache")
    hashed: list[Path] = []
    monkeypatch.setattr(digest_cache, "_hash", hashed.append)
    assert revision(folder, tmp_path / "cache") == before
    assert hashed == []


class Served(FakeDispatcher):
    """Serves an embedder of a given revision."""

    def __init__(self, revision: str) -> None:
        super().__init__()
        self.embedder = replace(EMBEDDER, revision=revision)

    async def models(self) -> Sequence[ModelCard]:
        return [self.embedder, *(await super().models())[1:]]


async def test_results_on_disk_are_found_after_the_model_was_written_again(folder: Path, tmp_path: Path) -> None:
    async def use() -> CacheUse | None:
        """Start a service, ask it once, stop it."""
        served = Served(revision(folder, tmp_path / "cache"))
        config = CacheConfig(memory=ByteSize(0), disk=ByteSize(1 << 20))
        results = open_results(config, tmp_path / "results", NO_METRICS)
        assert results is not None
        routed = await CachingDispatcher(served, served, results, "", NO_METRICS).call(EmbedRequest(("a",)))
        await results.close()
        return routed.cache

    assert await use() == CacheUse(0, 1)
    rebuild(folder)
    assert await use() == CacheUse(1, 1)
    (folder / "model.safetensors").write_bytes(b"\1" + FILES["model.safetensors"][1:])
    assert await use() == CacheUse(0, 1)
