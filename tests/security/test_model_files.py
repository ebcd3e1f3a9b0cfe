"""Model files are untrusted input: no pickle unless named, no path outside the directory, no code from the files."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.support.checkpoints import write_checkpoint
from trivet.checkpoint.files import find_weight_files
from trivet.checkpoint.modules import read_modules
from trivet.config import AppConfig
from trivet.engine.open import prepare_model
from trivet.errors import ModelError


class Bomb:
    """Creates a file when it is unpickled without safeguards."""

    def __init__(self, mark: Path) -> None:
        self._mark = mark

    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (self._mark,))


@pytest.fixture(scope="module")
def safe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint("bge-reranker-base", "tiny", tmp_path_factory.mktemp("safe") / "reranker", seed=7)


@pytest.fixture
def pickled(safe: Path, tmp_path: Path) -> Path:
    """The same checkpoint with its weights in a pickle."""
    folder = Path(shutil.copytree(safe, tmp_path / "pickled"))
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    return folder


def config(folder: Path, cache: Path, *, pickled_models: tuple[str, ...] = ()) -> AppConfig:
    return AppConfig.model_validate(
        {
            "reranker": {"model": str(folder)},
            "serving": {"cache_dir": str(cache)},
            "pickled_models": list(pickled_models),
        }
    )


def weights(folder: Path) -> dict[str, torch.Tensor]:
    [file] = find_weight_files(folder)
    return load_file(file)


@pytest.mark.slow
def test_a_pickle_is_refused(pickled: Path, tmp_path: Path) -> None:
    prepared = prepare_model(config(pickled, tmp_path / "cache"), "reranker")
    with pytest.raises(ModelError, match=r"pytorch_model\.bin is a pickle.*pickled_models"):
        find_weight_files(prepared.source.path)


def test_allowing_another_models_pickle_does_not_allow_this_one(pickled: Path, tmp_path: Path) -> None:
    named = config(pickled, tmp_path / "cache", pickled_models=("somebody/else",))
    with pytest.raises(ModelError, match="is a pickle"):
        find_weight_files(prepare_model(named, "reranker").source.path)


@pytest.mark.slow
def test_a_pickle_that_the_configuration_names_is_served_as_safetensors(
    pickled: Path, safe: Path, tmp_path: Path
) -> None:
    named = config(pickled, tmp_path / "cache", pickled_models=(str(pickled),))
    prepared = prepare_model(named, "reranker")
    assert prepared.source.path.parent == tmp_path / "cache"
    assert prepared.source.name == "pickled"
    expected = weights(safe)
    found = weights(prepared.source.path)
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    assert prepare_model(named, "reranker").source == prepared.source  # converted only once
    assert not (pickled / "model.safetensors").exists()  # the user's folder is not changed


@pytest.mark.slow
def test_a_pickle_with_code_is_refused_even_if_it_is_named(pickled: Path, tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    torch.save({"weight": torch.zeros(2), "bomb": Bomb(mark)}, pickled / "pytorch_model.bin")
    with pytest.raises(ModelError, match=r"its pickle was not read: .*UnpicklingError"):
        prepare_model(config(pickled, tmp_path / "cache", pickled_models=(str(pickled),)), "reranker")
    assert not mark.exists()
    torch.load(pickled / "pytorch_model.bin", weights_only=False)  # the bomb is a real one
    assert mark.exists()


@pytest.mark.parametrize("name", ["../stolen.safetensors", "/etc/stolen.safetensors", "a/../../b.safetensors", 7])
def test_a_shard_outside_of_the_directory_is_refused(safe: Path, tmp_path: Path, name: object) -> None:
    folder = Path(shutil.copytree(safe, tmp_path / "sharded"))
    shutil.move(folder / "model.safetensors", tmp_path / "stolen.safetensors")
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"weight": name}}))
    with pytest.raises(ModelError, match="which is outside of"):
        find_weight_files(folder)


def test_a_pickled_shard_outside_of_the_directory_is_refused(pickled: Path, tmp_path: Path) -> None:
    shutil.move(pickled / "pytorch_model.bin", tmp_path / "stolen.bin")
    (pickled / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": {"weight": "../stolen.bin"}}))
    with pytest.raises(ModelError, match="which is outside of"):
        prepare_model(config(pickled, tmp_path / "cache", pickled_models=(str(pickled),)), "reranker")


def test_a_pooling_folder_outside_of_the_directory_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    kinds = [("Transformer", ""), ("Pooling", "../pooling")]
    modules = [{"type": f"sentence_transformers.models.{kind}", "path": path} for kind, path in kinds]
    (folder / "modules.json").write_text(json.dumps(modules))
    with pytest.raises(ModelError, match="which is outside of"):
        read_modules(folder, "embedder")
