"""`trivet prepare` without a hub: checkpoints in a folder are verified and converted."""

from pathlib import Path
from subprocess import run

import pytest
import yaml
from typer.testing import CliRunner

from tests.support.checkpoints import write_checkpoint
from tests.support.conversions import convert_here
from tests.support.published import bert
from trivet.cli import main

HUB_ID = "sentence-transformers/all-MiniLM-L6-v2"

pytestmark = pytest.mark.slow


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A serve file whose embedder comes from a folder of checkpoints by hub id; there is no hub."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    kept = tmp_path / "models" / HUB_ID
    bert.write_minilm(kept)
    others = {
        "reranker": write_checkpoint("bge-reranker-base", "tiny", tmp_path / "reranker"),
        "classifier": write_checkpoint("ModernBERT-large-zeroshot-v2.0", "tiny", tmp_path / "classifier"),
    }
    listed = run("sha256sum $(find . -type f)", shell=True, cwd=kept, capture_output=True, check=True)
    (kept / "SHA256SUMS").write_bytes(listed.stdout)
    args = {
        "embedder": {"model": HUB_ID},
        **{task: {"model": str(folder)} for task, folder in others.items()},
        "cpu": {"precision": "fp32"},
        "serving": {"models_dir": str(tmp_path / "models"), "cache_dir": str(tmp_path / "cache")},
    }
    file = tmp_path / "serve.yaml"
    file.write_text(yaml.safe_dump({"applications": [{"name": "trivet", "import_path": "app:build", "args": args}]}))
    return file


def test_the_hub_does_not_take_the_place_of_a_missing_folder(config: Path, tmp_path: Path) -> None:
    (tmp_path / "models").rename(tmp_path / "elsewhere")
    result = CliRunner().invoke(main, ["prepare", str(config)], env={"COLUMNS": "300"})
    assert result.exit_code == 1
    assert f"there is no directory {tmp_path / 'models'} (serving.models_dir)" in result.output


def test_models_of_a_folder_are_verified_and_converted(config: Path, tmp_path: Path) -> None:
    # The embedder alone is converted by the command.
    convert_here(tmp_path / "reranker", "reranker", "fp32", tmp_path / "cache")
    convert_here(tmp_path / "classifier", "classifier", "fp32", tmp_path / "cache")
    result = CliRunner().invoke(main, ["prepare", str(config)], env={"COLUMNS": "300"})
    assert result.exit_code == 0, result.output
    assert f"embedder, 1 of 3: looking for {HUB_ID}" in result.output
    assert ": match the published digests" in result.output
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
