"""The chain of sentence-transformers modules, and the settings of the transformer."""

import json
from pathlib import Path
from typing import Any

import pytest

from trivet.checkpoint.modules import Dense, LayerNorm, Normalize, read_modules, read_transformer_settings
from trivet.errors import ModelError


def write(folder: Path, *modules: tuple[str, dict[str, Any]]) -> Path:
    """Write Transformer and the given modules, each with its configuration."""
    chain = [{"path": "", "type": "sentence_transformers.models.Transformer"}]
    for index, (kind, config) in enumerate(modules, start=1):
        path = f"{index}_{kind}"
        chain.append({"path": path, "type": f"sentence_transformers.models.{kind}"})
        (folder / path).mkdir()
        (folder / path / "config.json").write_text(json.dumps(config))
    (folder / "modules.json").write_text(json.dumps(chain))
    return folder


POOLING = ("Pooling", {"pooling_mode": "mean"})
NORM = ("LayerNorm", {"dimension": 8})


def dense(inputs: int, outputs: int, **more: Any) -> tuple[str, dict[str, Any]]:
    return "Dense", {"in_features": inputs, "out_features": outputs, "bias": True, **more}


def test_modules_may_follow_in_any_order(tmp_path: Path) -> None:
    write(tmp_path, POOLING, ("Normalize", {}), dense(4, 8), NORM, ("Dropout", {}), ("Normalize", {}))
    modules = read_modules(tmp_path, "embedder")
    assert [type(step) for step in modules.steps] == [Normalize, Dense, LayerNorm, Normalize]
    assert [type(step) for step in modules.steps_before_windows] == [Normalize, Dense, LayerNorm]
    assert modules.ends_in_normalize
    assert modules.output_size(4) == 8


def test_sizes_that_do_not_fit_are_named(tmp_path: Path) -> None:
    modules = read_modules(write(tmp_path, POOLING, dense(6, 8)), "embedder")
    with pytest.raises(ModelError, match="Dense takes 6 features, it is given 4"):
        modules.output_size(4)


def test_a_pooling_of_another_width_is_named(tmp_path: Path) -> None:
    for field in ("embedding_dimension", "word_embedding_dimension"):
        folder = tmp_path / field
        folder.mkdir()
        modules = read_modules(write(folder, ("Pooling", {"pooling_mode": "mean", field: 6})), "embedder")
        assert modules.output_size(6) == 6
        with pytest.raises(ModelError, match=f"1_Pooling/config.json: {field} is 6, but the encoder gives 4 features"):
            modules.output_size(4)


def test_arguments_that_change_no_number_are_taken(tmp_path: Path) -> None:
    write(tmp_path, POOLING)
    harmless = {"model_args": {"attn_implementation": "eager"}, "tokenizer_args": {"padding_side": "left"}}
    (tmp_path / "sentence_bert_config.json").write_text(json.dumps(harmless))
    assert read_transformer_settings(tmp_path).max_tokens is None


def test_a_module_that_reads_something_else_is_refused(tmp_path: Path) -> None:
    write(tmp_path, POOLING, dense(4, 8, module_input_name="token_embeddings"), ("Normalize", {}))
    with pytest.raises(ModelError, match="reads 'token_embeddings'"):
        read_modules(tmp_path, "embedder")


@pytest.mark.parametrize(
    ("config", "causal"),
    [
        ({"architectures": ["Qwen3ForCausalLM"]}, True),
        ({"architectures": ["Qwen2ForCausalLM"], "is_causal": False}, False),
        ({"architectures": ["MistralModel"]}, False),
        ({}, False),
    ],
)
def test_a_plain_causal_model_is_read_at_its_last_token(tmp_path: Path, config: dict[str, Any], causal: bool) -> None:
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert read_modules(tmp_path, "embedder").pooling == (("lasttoken",) if causal else ("mean",))
    assert read_modules(tmp_path, "reranker").pooling == ()


def test_settings_count_only_beside_modules_json(tmp_path: Path) -> None:
    (tmp_path / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 7, "do_lower_case": True}))
    assert read_transformer_settings(tmp_path).max_tokens is None
    write(tmp_path, POOLING)
    settings = read_transformer_settings(tmp_path)
    assert (settings.max_tokens, settings.lowercases) == (7, True)


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"query_expansion": {"length": 32}}, "query_expansion"),
        ({"config_kwargs": {"is_causal": False}}, "config_kwargs sets is_causal"),
        ({"model_args": {"num_hidden_layers": 1, "dtype": "float16"}}, "model_args sets num_hidden_layers,"),
        ({"processor_kwargs": {"do_lower_case": True}}, "processor_kwargs sets do_lower_case,"),
        ({"transformer_task": "fill-mask"}, "transformer_task is 'fill-mask'"),
        (
            {"modality_config": {"text": {"method": "forward", "method_output_name": "pooler_output"}}},
            "modality_config reads 'pooler_output' of 'forward' for text",
        ),
        ({"max_seq_length": "512"}, "max_seq_length is '512'"),
    ],
)
def test_settings_that_are_not_read_are_named(tmp_path: Path, settings: dict[str, Any], named: str) -> None:
    write(tmp_path, POOLING)
    (tmp_path / "sentence_bert_config.json").write_text(json.dumps(settings))
    with pytest.raises(ModelError, match=named):
        read_transformer_settings(tmp_path)
