"""Which checkpoints the flat modules take, by all of their description and not by config.json alone."""

import json
from pathlib import Path

import pytest

from tests.engine.models.flat.support import write_family
from trivet.checkpoint.flat_encoders import padded_because
from trivet.engine.models.flat.load import load_flat_model
from trivet.errors import ModelError


def add_modules(folder: Path, *kinds: str) -> None:
    configs = {
        "Pooling": {"pooling_mode": "mean"},
        "Dense": {"in_features": 32, "out_features": 8, "bias": True},
        "Normalize": {},
    }
    chain = [{"path": "", "type": "sentence_transformers.models.Transformer"}]
    for index, kind in enumerate(kinds, start=1):
        chain.append({"path": f"{index}_{kind}", "type": f"sentence_transformers.models.{kind}"})
        (folder / f"{index}_{kind}").mkdir()
        (folder / f"{index}_{kind}" / "config.json").write_text(json.dumps(configs[kind]))
    (folder / "modules.json").write_text(json.dumps(chain))


@pytest.mark.parametrize(
    ("kinds", "reason"), [(("Pooling", "Normalize"), None), (("Pooling", "Dense", "Normalize"), "Dense")]
)
def test_an_embedder_with_further_modules_is_padded(tmp_path: Path, kinds: tuple[str, ...], reason: str | None) -> None:
    write_family("bert", tmp_path, labels=None)
    add_modules(tmp_path, *kinds)
    found = padded_because(tmp_path, "embedder")
    assert (found is None) == (reason is None)
    assert reason is None or reason in str(found)


def test_a_file_that_was_cut_off_is_named(tmp_path: Path) -> None:
    write_family("bert", tmp_path, labels=None)
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(ModelError, match=r"model\.safetensors is no safetensors file, or not a whole one"):
        load_flat_model(tmp_path, "embedder")
