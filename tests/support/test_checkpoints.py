"""The checkpoint writer: the published layout, at the published sizes."""

import json
import math
from pathlib import Path

import pytest
from safetensors import safe_open
from tokenizers import Tokenizer

from tests.support import checkpoints
from tests.support.checkpoints import KINDS, Kind, write_checkpoint

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[Kind, Path]:
    return {kind: write_checkpoint(kind, "tiny", tmp_path_factory.mktemp(kind), seed=1) for kind in KINDS}


@pytest.mark.parametrize(
    ("kind", "tensors", "parameters"),
    [
        ("nomic-embed-text-v2-moe", 148, 475_292_928),
        ("bge-reranker-base", 201, 278_044_417),
        ("ModernBERT-large-zeroshot-v2.0", 174, 395_833_346),
    ],
)
def test_full_size_has_the_published_number_of_parameters(kind: Kind, tensors: int, parameters: int) -> None:
    config_and_tensors = {
        "nomic-embed-text-v2-moe": (checkpoints._nomic_config, checkpoints._nomic_tensors),
        "bge-reranker-base": (checkpoints._bge_config, checkpoints._bge_tensors),
        "ModernBERT-large-zeroshot-v2.0": (checkpoints._modernbert_config, checkpoints._modernbert_tensors),
    }
    configure, specify = config_and_tensors[kind]
    specs = list(specify(configure("full")))
    assert len(specs) == tensors
    assert sum(math.prod(spec.shape) for spec in specs) == parameters


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_seed_gives_the_same_weights(kind: Kind, folders: dict[Kind, Path], tmp_path: Path) -> None:
    same = write_checkpoint(kind, "tiny", tmp_path / "same", seed=1) / "model.safetensors"
    other = write_checkpoint(kind, "tiny", tmp_path / "other", seed=2) / "model.safetensors"
    written = (folders[kind] / "model.safetensors").read_bytes()
    assert same.read_bytes() == written
    assert other.read_bytes() != written


@pytest.mark.parametrize("kind", KINDS)
def test_token_ids_stay_within_the_embedding_table(kind: Kind, folders: dict[Kind, Path]) -> None:
    tokenizer = Tokenizer.from_file(str(folders[kind] / "tokenizer.json"))
    config = json.loads((folders[kind] / "config.json").read_text())
    with safe_open(folders[kind] / "model.safetensors", "np") as weights:
        tables = [key for key in weights.keys() if key.endswith(("word_embeddings.weight", "tok_embeddings.weight"))]  # noqa: SIM118
        rows = weights.get_slice(tables[0]).get_shape()[0]
    assert rows == config["vocab_size"]
    assert max(tokenizer.get_vocab().values()) < rows
    assert max(tokenizer.encode("def run(self): return 'naïve, 漢字'", "and why").ids) < rows


@pytest.mark.parametrize(
    ("kind", "pair"),
    [
        ("nomic-embed-text-v2-moe", ["<s>", "</s>", "</s>", "</s>"]),
        ("bge-reranker-base", ["<s>", "</s>", "</s>", "</s>"]),
        ("ModernBERT-large-zeroshot-v2.0", ["[CLS]", "[SEP]", "[SEP]"]),
    ],
)
def test_pairs_are_wrapped_in_the_familys_special_tokens(
    kind: Kind, pair: list[str], folders: dict[Kind, Path]
) -> None:
    encoded = Tokenizer.from_file(str(folders[kind] / "tokenizer.json")).encode("one", "two")
    assert [
        token for token, special in zip(encoded.tokens, encoded.special_tokens_mask, strict=True) if special
    ] == pair


def test_pad_ids_are_the_families() -> None:
    assert checkpoints._bge_config("full")["pad_token_id"] == 1
    assert checkpoints._nomic_config("full")["pad_token_id"] == 1
    assert checkpoints._modernbert_config("full")["pad_token_id"] == 50_283


def test_unknown_names_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="unknown kind 'bert'"):
        write_checkpoint("bert", "tiny", tmp_path)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="unknown size 'huge'"):
        write_checkpoint("bge-reranker-base", "huge", tmp_path)  # type: ignore[arg-type]
