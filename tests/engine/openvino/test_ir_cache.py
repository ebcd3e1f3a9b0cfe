"""The cache of converted models: its keys, and one conversion for several processes."""

import json
import logging
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.support.checkpoints import write_checkpoint
from trivet.checkpoint import digest_cache
from trivet.engine.openvino import ir_cache
from trivet.engine.openvino.ir_cache import META_FILE, ensure_ir, ir_key
from trivet.errors import ModelError


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint("bge-reranker-base", "tiny", tmp_path_factory.mktemp("original") / "bge")


@pytest.fixture
def checkpoint(original: Path, tmp_path: Path) -> Path:
    """A copy whose files have just been written, for the test to change."""
    return Path(shutil.copytree(original, tmp_path / "bge", copy_function=shutil.copy))


def _edit(path: Path) -> None:
    """Changes one byte in place, keeping size and modification time: the worst case for a cache of digests."""
    before = path.stat()
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_the_key_is_stable(checkpoint: Path, tmp_path: Path) -> None:
    assert ir_key(checkpoint, "reranker", "bf16") == ir_key(checkpoint, "reranker", "bf16")
    moved = checkpoint.rename(tmp_path / "elsewhere")
    assert ir_key(moved, "reranker", "bf16") == ir_key(moved, "reranker", "bf16", tmp_path / "digests")


def test_task_and_precision_change_the_key(checkpoint: Path) -> None:
    keys = {ir_key(checkpoint, task, p) for task in ("reranker", "classifier") for p in ("fp32", "bf16", "int8")}
    assert len(keys) == 6


def test_every_file_the_graph_depends_on_changes_the_key(checkpoint: Path) -> None:
    seen = {ir_key(checkpoint, "reranker", "bf16")}
    _edit(checkpoint / "model.safetensors")
    seen.add(ir_key(checkpoint, "reranker", "bf16"))
    config = json.loads((checkpoint / "config.json").read_text())
    (checkpoint / "config.json").write_text(json.dumps(config | {"layer_norm_eps": 1e-6}))
    seen.add(ir_key(checkpoint, "reranker", "bf16"))
    (checkpoint / "modules.json").write_text("[]")
    seen.add(ir_key(checkpoint, "reranker", "bf16"))
    (checkpoint / "1_Pooling").mkdir()
    (checkpoint / "1_Pooling" / "config.json").write_text("{}")
    seen.add(ir_key(checkpoint, "reranker", "bf16"))
    assert len(seen) == 5


def test_a_tokenizer_does_not_change_the_key(checkpoint: Path) -> None:
    before = ir_key(checkpoint, "reranker", "bf16")
    (checkpoint / "tokenizer.json").write_text("{}")
    assert ir_key(checkpoint, "reranker", "bf16") == before


def test_a_library_version_changes_the_key(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = ir_key(checkpoint, "reranker", "bf16")
    monkeypatch.setattr(ir_cache, "version", lambda name: "999" if name == "openvino" else "1")
    assert ir_key(checkpoint, "reranker", "bf16") != before


@pytest.mark.slow
def test_a_remembered_digest_is_used_and_does_not_outlive_a_change(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digests = tmp_path / "digests"
    monkeypatch.setattr(digest_cache, "_SETTLED_S", -1.0)  # as if the files had been there for a while
    before = ir_key(checkpoint, "reranker", "bf16", digests)
    entries = {entry: json.loads(entry.read_text()) for entry in digests.glob("*.json")}
    assert len(entries) == 2  # config.json and the weights
    for entry, known in entries.items():
        entry.write_text(json.dumps(known | {"digest": "00" * 32}))
    assert ir_key(checkpoint, "reranker", "bf16", digests) != before, "the remembered digest was not used"
    for entry, known in entries.items():
        entry.write_text(json.dumps(known))
    _edit(checkpoint / "model.safetensors")  # same size, same modification time: only the change time tells
    assert ir_key(checkpoint, "reranker", "bf16", digests) != before


def test_a_file_just_written_is_not_remembered(checkpoint: Path, tmp_path: Path) -> None:
    ir_key(checkpoint, "reranker", "bf16", tmp_path / "digests")
    assert not list((tmp_path / "digests").glob("*")), "it could change again within one tick of its timestamp"


def test_a_torn_entry_is_hashed_again(checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digest_cache, "_SETTLED_S", -1.0)
    before = ir_key(checkpoint, "reranker", "bf16", tmp_path)
    for entry in tmp_path.glob("*.json"):
        entry.write_text('{"identity": [1,')
    assert ir_key(checkpoint, "reranker", "bf16", tmp_path) == before


def test_what_is_not_a_checkpoint_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"config\.json is missing"):
        ir_key(tmp_path, "embedder", "fp32")


def test_looking_up_a_key_imports_no_framework(checkpoint: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from trivet.engine.openvino.ir_cache import ir_key;"
        f"ir_key(Path({str(checkpoint)!r}), 'reranker', 'int8');"
        "print([m for m in ('torch', 'transformers', 'openvino', 'nncf', 'safetensors') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.slow
def test_a_failed_conversion_says_why_and_leaves_nothing(tmp_path: Path) -> None:
    checkpoint = write_checkpoint("nomic-embed-text-v2-moe", "tiny", tmp_path / "nomic")
    config = json.loads((checkpoint / "config.json").read_text())
    (checkpoint / "config.json").write_text(json.dumps(config | {"prenorm": True}))
    cache = tmp_path / "cache"
    with pytest.raises(ModelError, match="prenorm is True"):
        ensure_ir(checkpoint, "embedder", "fp32", cache)
    assert [path.name for path in cache.iterdir() if path.is_dir() and path.name != "digests"] == []


@pytest.mark.slow
def test_of_several_processes_one_converts(checkpoint: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="trivet.engine.openvino.ir_cache")
    found: list[Path] = []
    askers = [
        threading.Thread(target=lambda: found.append(ensure_ir(checkpoint, "reranker", "fp32", tmp_path / "cache")))
        for _ in range(3)
    ]
    for asker in askers:
        asker.start()
    for asker in askers:
        asker.join()
    assert len(found) == 3
    assert len(set(found)) == 1
    graphs = {f"openvino_{part}.{kind}" for part in ("model", "head") for kind in ("xml", "bin")}
    assert {path.name for path in found[0].iterdir()} == {*graphs, "meta.json"}
    assert sum("converting" in line for line in caplog.messages) == 1
    assert any(line.endswith("tracing") for line in caplog.messages), "progress is shown"
    meta = json.loads((found[0] / META_FILE).read_text())
    assert (meta["model"], meta["task"], meta["precision"]) == (checkpoint.name, "reranker", "fp32")
    assert 0 <= meta["relative_error"] < 1e-4
    assert {"torch", "openvino"} <= meta["versions"].keys()


@pytest.mark.skipif(sys.platform != "linux", reason="resident pages are read from /proc")
def test_dropped_pages_leave_memory_and_come_back(tmp_path: Path) -> None:
    import mmap

    from trivet.engine.openvino.mapped import drop_resident_pages

    size = 8 * 2**20
    file = tmp_path / "weights with a space.bin"
    file.write_bytes(os.urandom(size))
    written = file.read_bytes()

    def resident_kib() -> int:
        lines = iter(Path("/proc/self/smaps").read_text().splitlines())
        return next(int(next(x for x in lines if x.startswith("Rss:")).split()[1]) for at in lines if str(file) in at)

    with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        assert mapped[:] == written
        assert resident_kib() == size // 1024
        assert drop_resident_pages(file) == size
        assert resident_kib() == 0
        assert mapped[:] == written
    assert drop_resident_pages(file) == 0, "no longer mapped"
