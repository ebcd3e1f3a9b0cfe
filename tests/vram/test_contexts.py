"""Measured CUDA contexts: kept for each GPU, driver and torch; the largest counts."""

from pathlib import Path

import pytest

from tests.vram.fakes import MIB
from trivet.vram import contexts
from trivet.vram.contexts import keep_context, kept_context

LAPTOP, SERVER = "NVIDIA RTX 4060, driver 580.1", "NVIDIA H200, driver 580.1"


def test_the_largest_measurement_of_a_gpu_is_kept(tmp_path: Path) -> None:
    assert kept_context(tmp_path, LAPTOP) is None
    for size in (300 * MIB, 340 * MIB, 310 * MIB):
        keep_context(tmp_path, LAPTOP, size)
    keep_context(tmp_path, SERVER, 760 * MIB)
    assert kept_context(tmp_path, LAPTOP) == 340 * MIB
    assert kept_context(tmp_path, SERVER) == 760 * MIB
    assert kept_context(tmp_path, "NVIDIA H200, driver 600.0") is None


def test_another_torch_is_measured_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keep_context(tmp_path, LAPTOP, 300 * MIB)
    monkeypatch.setattr(contexts, "version", lambda _name: "99.0")
    assert kept_context(tmp_path, LAPTOP) is None


@pytest.mark.parametrize("content", ["", "[]", '{"bytes": "300"}', '{"bytes": -1}', "\xff"])
def test_a_damaged_file_counts_as_none_and_is_replaced(tmp_path: Path, content: str) -> None:
    keep_context(tmp_path, LAPTOP, 300 * MIB)
    [file] = (tmp_path / "cuda-contexts").iterdir()
    file.write_bytes(content.encode("latin-1"))
    assert kept_context(tmp_path, LAPTOP) is None
    keep_context(tmp_path, LAPTOP, 200 * MIB)
    assert kept_context(tmp_path, LAPTOP) == 200 * MIB
