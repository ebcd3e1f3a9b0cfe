"""Rerankers that answer with a word: Qwen3-Reranker in its three forms, mxbai-rerank-v2, bge-reranker-v2-gemma."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer

from tests.support.published.decoders import QWEN2, QWEN3, Shape, decoder, qwen3_config, write_gemma_tokenizer
from tests.support.published.layout import write_json, write_modules, write_versions
from tests.support.published.vocabularies import qwen, write_qwen_tokenizer, write_tokenizer
from tests.support.published.weights import HEAD, Weights

QWEN3_INSTRUCTION = "Given a web search query, retrieve relevant passages that answer the query"
QWEN3_PREFIX = (
    "<|im_start|>system\nJudge whether the Document meets the requirements based on the Query and the Instruct "
    'provided. Note that the answer can only be "yes" or "no".<|im_end|>\n<|im_start|>user\n'
)
QWEN3_SUFFIX = "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"
QWEN3_TEMPLATE = (
    '{%- set instruction = messages | selectattr("role", "eq", "system") | map(attribute="content") | first '
    f'| default("{QWEN3_INSTRUCTION}") -%}}\n'
    '{%- set query = messages | selectattr("role", "eq", "query") | map(attribute="content") | first -%}\n'
    '{%- set document = messages | selectattr("role", "eq", "document") | map(attribute="content") | first -%}\n'
    + QWEN3_PREFIX
    + "<Instruct>: {{ instruction }}\n<Query>: {{ query }}\n<Document>: {{ document }}"
    + QWEN3_SUFFIX.replace("</think>\n\n", '</think>{{ "\\n\\n" }}')
)
"""What sentence-transformers' layout keeps in `chat_template.jinja`: a pair is one message for each role."""
CHAT_TEMPLATE = (
    "{%- for message in messages %}{{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}"
    "{%- endfor %}{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}"
)
"""The general one of Qwen's chat models, which knows nothing of queries and documents."""

MXBAI_PREFIX = (
    "<|im_start|>system\nYou are Qwen, created by Alibaba Cloud. You are a helpful assistant.<|im_end|>\n"
    "<|im_start|>user\n"
)
MXBAI_TASK = (
    "You are a search relevance expert who evaluates how well documents match search queries. For each query-document "
    "pair, carefully analyze the semantic relationship between them, then provide your binary relevance judgment "
    "(0 for not relevant, 1 for relevant).\nRelevance:"
)
MXBAI_SUFFIX = "<|im_end|>\n<|im_start|>assistant\n"

GEMMA_TASK = (
    "Given a query A and a passage B, determine whether the passage contains an answer to the query by providing a "
    "prediction of either 'Yes' or 'No'."
)


def _qwen_tokenizer(folder: Path, answers: tuple[str, ...], **config: Any) -> int:
    """Qwen's with the words that answer as entries of their own, as they are in the published vocabulary."""
    tokenizer = qwen()
    tokenizer.add_tokens(list(answers))
    write_qwen_tokenizer(folder, **config)
    return write_tokenizer(
        folder, tokenizer, "Qwen2Tokenizer", model_max_length=131072, padding_side="left", bos_token=None,
        eos_token="<|im_end|>", pad_token="<|endoftext|>", unk_token=None, add_bos_token=False, add_prefix_space=False,
        errors="replace", split_special_tokens=False, clean_up_tokenization_spaces=False, **config,
    )  # fmt: skip


def _id(folder: Path, token: str) -> int:
    return int(Tokenizer.from_file(str(folder / "tokenizer.json")).token_to_id(token))


def _qwen3(folder: Path, seed: int, **config: Any) -> None:
    entries = _qwen_tokenizer(folder, ("yes", "no"), **config)
    write_json(folder / "config.json", qwen3_config(entries, _id(folder, "<|im_end|>"), max_position_embeddings=40960))
    weights = Weights(seed, prefix="model.")
    decoder(weights, QWEN3, entries)
    weights.save(folder, torch.bfloat16)


def write_qwen3_reranker(folder: Path) -> None:
    """Qwen3-Reranker-0.6B as first published: a causal model; the template and "yes" and "no" are in its card."""
    _qwen3(folder, 111, chat_template=CHAT_TEMPLATE)


def write_qwen3_reranker_modules(folder: Path) -> None:
    """Qwen3-Reranker-0.6B since 2026: Transformer → LogitScore, the template in chat_template.jinja."""
    _qwen3(folder, 112)
    (folder / "chat_template.jinja").write_text(QWEN3_TEMPLATE)
    _, score = write_modules(folder, ["Transformer", "LogitScore"], era=6)
    tokens = {"true_token_id": _id(folder, "yes"), "false_token_id": _id(folder, "no")}
    write_json(score / "config.json", {**tokens, "module_input_name": "causal_logits"})
    logits = {"method": "forward", "method_output_name": "logits"}
    write_json(
        folder / "sentence_bert_config.json",
        {
            "transformer_task": "text-generation",
            "modality_config": {"text": logits, "message": {**logits, "format": "flat"}},
            "module_output_name": "causal_logits",
        },
    )
    write_versions(
        folder, prompts={}, similarity=None, model_type="CrossEncoder",
        activation_fn="torch.nn.modules.linear.Identity",
    )  # fmt: skip


def _qwen3_classifier(folder: Path, seed: int, **config: Any) -> None:
    entries = _qwen_tokenizer(folder, ("yes", "no"), **config)
    end = _id(folder, "<|im_end|>")
    labels = {"id2label": {"0": "LABEL_0"}, "label2id": {"LABEL_0": 0}}
    architecture = {"architectures": ["Qwen3ForSequenceClassification"], "pad_token_id": _id(folder, "<|endoftext|>")}
    write_json(folder / "config.json", qwen3_config(entries, end, **labels, **architecture))
    weights = Weights(seed, prefix="model.")
    decoder(weights, QWEN3, entries)
    weights.prefix = ""
    weights.linear("score", 1, QWEN3.hidden, bias=False, gain=HEAD)
    weights.save(folder, torch.bfloat16)


def write_qwen3_seq_cls(folder: Path) -> None:
    """Qwen3-Reranker-0.6B-seq-cls: one label; the template is in its card alone."""
    _qwen3_classifier(folder, 113, chat_template=CHAT_TEMPLATE)


def write_qwen3_seq_cls_modules(folder: Path) -> None:
    """The same port in sentence-transformers' layout of 2026: a Transformer module, a template for pairs."""
    _qwen3_classifier(folder, 114)
    (folder / "chat_template.jinja").write_text(QWEN3_TEMPLATE)
    write_modules(folder, ["Transformer"], era=6)
    logits = {"method": "forward", "method_output_name": "logits"}
    write_json(
        folder / "sentence_bert_config.json",
        {
            "transformer_task": "sequence-classification",
            "modality_config": {"text": logits, "message": {**logits, "format": "flat"}},
            "module_output_name": "scores",
        },
    )
    write_versions(
        folder, prompts={}, similarity=None, model_type="CrossEncoder",
        activation_fn="torch.nn.modules.linear.Identity",
    )  # fmt: skip


def write_mxbai_rerank_v2(folder: Path) -> None:
    """mxbai-rerank-base-v2: Qwen2, "1" and "0"; the template is in its library."""
    entries = _qwen_tokenizer(folder, (), chat_template=CHAT_TEMPLATE)
    end = _id(folder, "<|im_end|>")
    config = QWEN2.config(
        architectures=["Qwen2ForCausalLM"], bos_token_id=_id(folder, "<|endoftext|>"), eos_token_id=end,
        hidden_act="silu", max_position_embeddings=32768, max_window_layers=QWEN2.layers, model_type="qwen2",
        rms_norm_eps=1e-06, rope_scaling=None, rope_theta=1000000.0, sliding_window=32768, tie_word_embeddings=True,
        torch_dtype="float16", use_sliding_window=False, vocab_size=entries,
    )  # fmt: skip
    write_json(folder / "config.json", config)
    weights = Weights(115, prefix="model.")
    decoder(weights, QWEN2, entries)
    weights.save(folder, torch.float16)


def write_bge_reranker_gemma(folder: Path) -> None:
    """bge-reranker-v2-gemma: Gemma, the logit of "Yes"; the template is in its card."""
    from tests.support.published.vocabularies import gemma

    shape = Shape(around=0.0, key_value_heads=1, head_size=32)
    write_gemma_tokenizer(folder, eos=False, limit=8192)
    tokenizer = gemma(eos=False)
    tokenizer.add_tokens(["Yes", "No"])
    entries = write_tokenizer(
        folder, tokenizer, "GemmaTokenizer", model_max_length=8192, bos_token="<bos>", eos_token="<eos>",
        pad_token="<pad>", unk_token="<unk>", add_bos_token=True, add_eos_token=False,
        spaces_between_special_tokens=False, clean_up_tokenization_spaces=False,
    )  # fmt: skip
    config = shape.config(
        architectures=["GemmaForCausalLM"], attention_bias=False, bos_token_id=2, eos_token_id=1,
        head_dim=shape.head_size, hidden_act="gelu", hidden_activation=None, max_position_embeddings=8192,
        model_type="gemma", pad_token_id=0, rms_norm_eps=1e-06, rope_scaling=None, rope_theta=10000.0,
        torch_dtype="float32", vocab_size=entries,
    )  # fmt: skip
    write_json(folder / "config.json", config)
    weights = Weights(116, prefix="model.")
    decoder(weights, shape, entries)
    weights.save(folder)


def write_jina_reranker_v3(folder: Path) -> None:
    """jina-reranker-v3: Qwen3 that reads a query with all of its documents, and a projector."""
    entries = _qwen_tokenizer(folder, ("<|embed_token|>", "<|rerank_token|>"))
    config = qwen3_config(
        entries, _id(folder, "<|im_end|>"), architectures=["JinaForRanking"], max_position_embeddings=131072,
        auto_map={"AutoModel": "modeling.JinaForRanking"},
    )  # fmt: skip
    write_json(folder / "config.json", config)
    weights = Weights(117, prefix="model.")
    decoder(weights, QWEN3, entries)
    weights.prefix = ""
    weights.linear("projector.0", 32, QWEN3.hidden, bias=False)
    weights.linear("projector.2", 32, 32, bias=False)
    weights.save(folder, torch.bfloat16)
