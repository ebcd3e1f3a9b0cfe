"""The references hold: the formulas of our own equal the libraries wherever both can compute the same model."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.models import formulas
from tests.models.formulas import AnswerReference, FormulaEmbedder, PromptedClassifierReference
from tests.models.library import CrossEncoderReference, SentenceTransformerReference
from tests.models.texts import QUERY, texts_for
from tests.support.published import causal_rerankers, decoders, gte, nomic

pytestmark = pytest.mark.models


def _with_config(folder: Path, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    file = folder / "config.json"
    file.write_text(json.dumps(change(json.loads(file.read_text()))))


def _native_gte(config: dict[str, Any]) -> dict[str, Any]:
    factor, size = config["rope_scaling"]["factor"], config["hidden_size"] // config["num_attention_heads"]
    rope = {"rope_type": "linear", "factor": factor ** (2 / size), "rope_theta": config["rope_theta"] * factor}
    kept = {key: value for key, value in config.items() if not key.startswith(("rope", "auto_map"))}
    return kept | {"model_type": "gte", "rope_parameters": rope}


def _native_nomic(config: dict[str, Any]) -> dict[str, Any]:
    names = {
        "n_embd": "hidden_size", "n_layer": "num_hidden_layers", "n_head": "num_attention_heads",
        "n_inner": "intermediate_size", "layer_norm_epsilon": "layer_norm_eps",
    }  # fmt: skip
    own = {native: config[name] for name, native in names.items()}
    rope = {"rope_type": "default", "rope_theta": float(config["rotary_emb_base"])}
    same = {key: config[key] for key in ("vocab_size", "type_vocab_size")}
    return own | same | {"model_type": "nomic_bert", "rope_parameters": rope, "hidden_act": "silu", "pad_token_id": 0}


@pytest.mark.parametrize(
    ("write", "hidden", "translate"),
    [
        (gte.write_gte_multilingual, formulas.gte_new, _native_gte),
        (gte.write_gte_en_v15, formulas.gte_new, _native_gte),
        (nomic.write_nomic_v15, formulas.nomic, _native_nomic),
    ],
)
def test_an_encoders_formula_is_what_the_native_class_computes_from_translated_fields(
    write: Callable[[Path], None], hidden: formulas.Hidden, translate: Callable[[Any], Any], tmp_path: Path
) -> None:
    write(tmp_path)
    texts = texts_for(tmp_path, 600)
    expected = FormulaEmbedder(tmp_path, hidden).embed(texts)
    _with_config(tmp_path, translate)
    np.testing.assert_allclose(FormulaEmbedder(tmp_path, formulas.native()).embed(texts), expected, atol=1e-5)


def test_a_bidirectional_decoder_is_what_sentence_transformers_makes_of_is_causal_false(tmp_path: Path) -> None:
    decoders.write_qwen3_not_causal(tmp_path)
    texts = texts_for(tmp_path, 600)
    ours = FormulaEmbedder(tmp_path, formulas.bidirectional_decoder("qwen3")).embed(texts)
    np.testing.assert_allclose(ours, SentenceTransformerReference(tmp_path).embed(texts), atol=1e-5)


@pytest.mark.parametrize(
    ("write", "reference"),
    [
        (
            causal_rerankers.write_qwen3_reranker_modules,
            lambda path: AnswerReference(path, formulas.qwen3_ids, "yes", "no"),
        ),
        (
            causal_rerankers.write_qwen3_seq_cls_modules,
            lambda path: PromptedClassifierReference(path, formulas.qwen3_ids),
        ),
    ],
)
def test_the_cards_recipe_is_what_the_cross_encoder_makes_of_the_chat_template(
    write: Callable[[Path], None], reference: Callable[[Path], Any], tmp_path: Path
) -> None:
    write(tmp_path)
    documents = texts_for(tmp_path, 400)
    expected = CrossEncoderReference(tmp_path).logits(QUERY, documents)
    np.testing.assert_allclose(reference(tmp_path).logits(QUERY, documents), expected, atol=1e-4)
