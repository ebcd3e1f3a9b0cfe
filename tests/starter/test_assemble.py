"""Assembly is complete, repeatable and safe across processes, and refuses unexpected files."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from safetensors.numpy import load_file

from trivet.checkpoint.card import StatedFacts
from trivet.errors import ModelError
from trivet.starter.assemble import assemble


def visible(cache: Path) -> list[str]:
    return sorted(p.name for p in cache.iterdir() if not p.name.endswith(".lock"))


def test_the_directory_is_a_plain_hugging_face_model(shipped: Path, base: Path, cache: Path) -> None:
    model = assemble(shipped, cache, base=base)

    assert sorted(p.name for p in model.iterdir()) == [
        "config.json", "model.safetensors", "special_tokens_map.json", "tokenizer.json", "tokenizer_config.json",
        "vocab.txt",
    ]  # fmt: skip
    config = json.loads((model / "config.json").read_text())
    assert config["architectures"] == ["BertForSequenceClassification"]
    assert config["id2label"] == {"0": "relevance"}
    assert config["hidden_size"] == 8
    assert "_name_or_path" not in config
    tensors = load_file(model / "model.safetensors")
    assert "bert.embeddings.word_embeddings.weight" in tensors
    assert "bert.embeddings.position_ids" not in tensors
    assert tensors["classifier.weight"].shape == (1, 8)
    assert {str(t.dtype) for t in tensors.values()} == {"float32"}
    assert all(p.stat().st_mode & 0o044 == 0o044 for p in model.iterdir())  # a cache may be shared between users


def test_the_card_states_the_licence(shipped: Path, base: Path, cache: Path) -> None:
    (shipped / "README.md").write_text("---\nlicense: mit\nlanguage: en\n---\n")
    assert StatedFacts.read(assemble(shipped, cache, base=base)) == StatedFacts("mit", ("en",))


def test_the_tokenizers_truncation_to_128_tokens_is_removed(shipped: Path, base: Path, cache: Path) -> None:
    model = assemble(shipped, cache, base=base)
    tokenizer = json.loads((model / "tokenizer.json").read_text())
    assert tokenizer["truncation"] is None
    assert tokenizer["padding"] is None
    assert json.loads((model / "tokenizer_config.json").read_text())["model_max_length"] == 512


def test_a_second_call_touches_nothing(shipped: Path, base: Path, cache: Path) -> None:
    first = assemble(shipped, cache, base=base)
    written = (first / "model.safetensors").stat().st_mtime_ns
    assert assemble(shipped, cache, base=base) == first
    assert (first / "model.safetensors").stat().st_mtime_ns == written
    assert visible(cache) == [first.name]


def test_another_version_gets_another_folder(ship: Callable[..., Path], base: Path, shipped: Path, cache: Path) -> None:
    first = assemble(shipped, cache, base=base)
    second = assemble(ship("newer", move=0.02), cache, base=base)
    assert first != second
    assert visible(cache) == sorted([first.name, second.name])


def test_new_metrics_do_not_make_a_new_model(shipped: Path, base: Path, cache: Path) -> None:
    first = assemble(shipped, cache, base=base)
    card = json.loads((shipped / "model.json").read_text())
    (shipped / "model.json").write_text(json.dumps({**card, "metrics": {"accuracy": 0.9}}))
    assert assemble(shipped, cache, base=base) == first


def test_a_base_with_other_weights_is_refused_with_both_digests(shipped: Path, base: Path, cache: Path) -> None:
    expected = json.loads((shipped / "model.json").read_text())["base"]["sha256"]["model.safetensors"]
    weights = base / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x01")
    with pytest.raises(ModelError, match=f"expected sha256 {expected}, found [0-9a-f]{{64}}.*tiny-base==0"):
        assemble(shipped, cache, base=base)
    assert visible(cache) == []


def test_a_damaged_delta_is_refused(shipped: Path, base: Path, cache: Path) -> None:
    delta = shipped / "delta.safetensors"
    delta.write_bytes(delta.read_bytes()[:-4])
    with pytest.raises(ModelError, match=r"does not belong to its model\.json"):
        assemble(shipped, cache, base=base)
    assert visible(cache) == []


def test_a_missing_base_file_is_named(shipped: Path, base: Path, cache: Path) -> None:
    (base / "vocab.txt").unlink()
    with pytest.raises(ModelError, match=r"vocab\.txt is missing"):
        assemble(shipped, cache, base=base)


def test_a_failed_assembly_leaves_no_directory(shipped: Path, base: Path, cache: Path) -> None:
    card = json.loads((shipped / "model.json").read_text())
    card["base"]["sha256"].pop("tokenizer.json")  # so that the damage is found only while writing
    (shipped / "model.json").write_text(json.dumps(card))
    good = (base / "tokenizer.json").read_text()
    (base / "tokenizer.json").write_text("{")
    with pytest.raises(json.JSONDecodeError):
        assemble(shipped, cache, base=base)
    assert visible(cache) == []

    (base / "tokenizer.json").write_text(good)
    assert (assemble(shipped, cache, base=base) / "tokenizer.json").is_file()


def test_callers_at_the_same_time_get_one_complete_model(shipped: Path, base: Path, cache: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        models = list(pool.map(lambda _: assemble(shipped, cache, base=base), range(8)))
    assert len(set(models)) == 1
    assert visible(cache) == [models[0].name]


def test_an_unreadable_card_is_a_model_error(shipped: Path, base: Path, cache: Path) -> None:
    (shipped / "model.json").write_text('{"format": 2}')
    with pytest.raises(ModelError, match=r"model\.json"):
        assemble(shipped, cache, base=base)
    (shipped / "model.json").unlink()
    with pytest.raises(ModelError, match="missing"):
        assemble(shipped, cache, base=base)
